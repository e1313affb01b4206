/* Forked processes: they have none of the threads that their parent's nodes run on. */
#include "cases.h"

#include <sys/wait.h>

static void everything_works(peernet_mesh closed)
{
    IS(PEERNET_ERR_CLOSED, peernet_mesh_close(closed));
    peernet_mesh mesh = open_node(), other = open_node();
    join(mesh, other);
    OK(peernet_mesh_broadcast(mesh, HELLO, sizeof HELLO, PATIENCE, NULL));
    peernet_batch_free(read_until(other, PEERNET_EVENT_MESSAGE));
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

/* Forks, and waits until the child has done this and ended well: by itself, or, if it has nodes of its parent's, as
   another program. What only the parent's threads had is lost in it, and no leak. */
static void in_a_child(void (*run)(peernet_mesh), peernet_mesh mesh)
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(WATCHDOG);
        run(mesh);
        if (run != everything_works) {
            execlp("true", "true", (char *)NULL);
            CHECK(!"there is a program of this name");
        }
        exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void everything_is_refused(peernet_mesh mesh)
{
    char text[PEERNET_ADDRESS_SIZE];
    peernet_batch *batch = NULL;
    peernet_mesh own = 0;
    int32_t fd = -1;
    IS(PEERNET_ERR_FORKED, peernet_mesh_poll(mesh, 1, 500, &batch));
    CHECK(strstr(peernet_error_message(), "fork") != NULL);
    IS(PEERNET_ERR_FORKED, peernet_mesh_poll(mesh, 1, -1, &batch));
    IS(PEERNET_ERR_FORKED, peernet_mesh_poll_fd(mesh, &fd));
    IS(PEERNET_ERR_FORKED, peernet_mesh_id(mesh, text, sizeof text));
    IS(PEERNET_ERR_FORKED, peernet_mesh_broadcast(mesh, HELLO, sizeof HELLO, -1, NULL));
    IS(PEERNET_ERR_FORKED, peernet_mesh_connect(mesh, "127.0.0.1:9", -1, NULL, 0));
    IS(PEERNET_ERR_FORKED, peernet_mesh_flush(mesh, -1));
    IS(PEERNET_ERR_FORKED, peernet_mesh_close(mesh));
    IS(PEERNET_ERR_FORKED, peernet_mesh_open(NULL, &own));
    CHECK(strcmp(peernet_status_name(PEERNET_ERR_FORKED), "forked") == 0);
}

static void forked_with_an_open_node(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    in_a_child(everything_is_refused, mesh);
    /* The parent has its nodes as before. */
    join(other, mesh);
    peernet_batch_free(read_until(mesh, PEERNET_EVENT_CONNECTED));
    in_a_child(everything_is_refused, mesh);
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

static void forked_before_any_node(void)
{
    in_a_child(everything_works, 0);
    everything_works(0);
}

static void forked_after_the_last_close(void)
{
    peernet_mesh mesh = open_node();
    OK(peernet_mesh_close(mesh));
    in_a_child(everything_works, mesh);
}

/* The batch is memory of the child's own. */
static peernet_batch *held;

static void read_what_is_held(peernet_mesh mesh)
{
    CHECK(peernet_batch_at(held, 0)->peer != NULL);
    IS(PEERNET_ERR_FORKED, peernet_mesh_reply(mesh, peernet_batch_at(held, 0), HELLO, sizeof HELLO, -1, NULL));
    peernet_batch_free(held);
}

static void forked_with_a_batch(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    join(other, mesh);
    held = read_until(mesh, PEERNET_EVENT_CONNECTED);
    in_a_child(read_what_is_held, mesh);
    peernet_batch_free(held);
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

static void *wait_for_the_end(void *mesh)
{
    peernet_batch *batch = NULL;
    IS(PEERNET_ERR_CLOSED, peernet_mesh_poll(*(peernet_mesh *)mesh, 1, -1, &batch));
    return NULL;
}

static void forked_while_a_thread_polls(void)
{
    peernet_mesh mesh = open_node();
    pthread_t thread = start(wait_for_the_end, &mesh);
    for (int round = 0; round < 5; round++) {
        in_a_child(everything_is_refused, mesh);
    }
    OK(peernet_mesh_close(mesh));
    end(thread);
}

const misuse_case cases[] = {
    {"forked_before_any_node", forked_before_any_node},
    {"forked_with_an_open_node", forked_with_an_open_node},
    {"forked_after_the_last_close", forked_after_the_last_close},
    {"forked_with_a_batch", forked_with_a_batch},
    {"forked_while_a_thread_polls", forked_while_a_thread_polls},
    {NULL, NULL},
};
