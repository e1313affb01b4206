/* Threads that close what others use, and threads that the library has never seen. */
#include "cases.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define THREADS 4

/* Reads until the node is closed by another thread. */
static void *read_to_the_end(void *mesh)
{
    for (;;) {
        peernet_batch *batch = NULL;
        peernet_status status = peernet_mesh_poll(*(peernet_mesh *)mesh, 64, -1, &batch);
        if (status != PEERNET_OK) {
            CHECK(status == PEERNET_ERR_CLOSED && batch == NULL);
            CHECK(peernet_error_message()[0] != '\0');
            return NULL;
        }
        CHECK(peernet_batch_len(batch) > 0);
        peernet_batch_free(batch);
    }
}

static void close_while_others_poll(void)
{
    for (int round = 0; round < 5; round++) {
        peernet_mesh mesh = open_node(), other = open_node();
        pthread_t threads[THREADS];
        for (int at = 0; at < THREADS; at++) {
            threads[at] = start(read_to_the_end, &mesh);
        }
        join(other, mesh);
        OK(peernet_mesh_broadcast(other, HELLO, sizeof HELLO, PATIENCE, NULL));
        OK(peernet_mesh_close(mesh));
        for (int at = 0; at < THREADS; at++) {
            end(threads[at]);
        }
        OK(peernet_mesh_close(other));
    }
}

static void *send_to_the_end(void *mesh)
{
    uint8_t number[5] = {0xce, 0, 0, 0, 0};
    for (;;) {
        for (int at = 4; at > 0 && ++number[at] == 0; at--) {
        }
        peernet_status status = peernet_mesh_broadcast(*(peernet_mesh *)mesh, number, sizeof number, -1, NULL);
        if (status != PEERNET_OK) {
            CHECK(status == PEERNET_ERR_CLOSED || status == PEERNET_ERR_TIMED_OUT);
            if (status == PEERNET_ERR_CLOSED) {
                return NULL;
            }
        }
    }
}

/* The other node reads nothing, so that those who send wait. */
static void close_while_others_send(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    join(mesh, other);
    pthread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) {
        threads[at] = start(send_to_the_end, &mesh);
    }
    peernet_batch_free(read_until(other, PEERNET_EVENT_MESSAGE));
    OK(peernet_mesh_close(mesh));
    for (int at = 0; at < THREADS; at++) {
        end(threads[at]);
    }
    OK(peernet_mesh_close(other));
}

struct dial {
    peernet_mesh mesh;
    char address[32];
};

static void *dial(void *with)
{
    struct dial *dial = with;
    peernet_status status = peernet_mesh_connect(dial->mesh, dial->address, -1, NULL, 0);
    CHECK(status == PEERNET_ERR_CLOSED || status == PEERNET_ERR_CONNECT);
    return NULL;
}

/* Who is dialled takes the connection and says nothing. */
static void close_while_another_connects(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int silent = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(silent, (struct sockaddr *)&at, len) == 0 && listen(silent, 1) == 0);
    CHECK(getsockname(silent, (struct sockaddr *)&at, &len) == 0);
    struct dial with = {open_node(), ""};
    snprintf(with.address, sizeof with.address, "127.0.0.1:%d", ntohs(at.sin_port));
    pthread_t thread = start(dial, &with);
    int link = accept(silent, NULL, NULL);
    CHECK(link >= 0);
    OK(peernet_mesh_close(with.mesh));
    end(thread);
    close(link);
    close(silent);
}

static void *try_to_close(void *mesh)
{
    peernet_status status = peernet_mesh_close(*(peernet_mesh *)mesh);
    CHECK(status == PEERNET_OK || status == PEERNET_ERR_CLOSED);
    return status == PEERNET_OK ? mesh : NULL;
}

static void of_several_that_close_one_succeeds(void)
{
    for (int round = 0; round < 10; round++) {
        peernet_mesh mesh = open_node();
        pthread_t threads[THREADS];
        for (int at = 0; at < THREADS; at++) {
            threads[at] = start(try_to_close, &mesh);
        }
        int succeeded = 0;
        for (int at = 0; at < THREADS; at++) {
            succeeded += end(threads[at]) != NULL;
        }
        CHECK(succeeded == 1);
    }
}

static void *open_elsewhere(void *mesh)
{
    *(peernet_mesh *)mesh = open_node();
    return NULL;
}

static void *use_elsewhere(void *mesh)
{
    char text[PEERNET_ID_SIZE];
    CHECK(peernet_error_message()[0] == '\0');
    OK(peernet_mesh_id(*(peernet_mesh *)mesh, text, sizeof text));
    IS(PEERNET_ERR_TOO_LARGE, peernet_mesh_id(*(peernet_mesh *)mesh, text, 1));
    CHECK(peernet_error_message()[0] != '\0');
    peernet_batch *batch = NULL;
    IS(PEERNET_ERR_TIMED_OUT, peernet_mesh_poll(*(peernet_mesh *)mesh, 1, 1, &batch));
    return NULL;
}

static void *free_elsewhere(void *batch)
{
    CHECK(peernet_batch_len(batch) == 1);
    peernet_batch_free(batch);
    return NULL;
}

/* Threads that come and go: what they have begun outlives them, and each has errors of its own. */
static void foreign_threads(void)
{
    peernet_mesh mesh = 0, other = open_node();
    end(start(open_elsewhere, &mesh));
    for (int round = 0; round < 20; round++) {
        end(start(use_elsewhere, &mesh));
    }
    join(other, mesh);
    end(start(free_elsewhere, read_until(mesh, PEERNET_EVENT_CONNECTED)));
    CHECK(end(start(try_to_close, &mesh)) != NULL);
    OK(peernet_mesh_close(other));
}

static void *end_the_program(void *unused)
{
    exit(unused != NULL);
}

/* While one thread waits and another ends the program. */
static void ended_by_another_thread(void)
{
    peernet_mesh mesh = open_node();
    start(end_the_program, NULL);
    read_to_the_end(&mesh);
}

const misuse_case cases[] = {
    {"close_while_others_poll", close_while_others_poll},
    {"close_while_others_send", close_while_others_send},
    {"close_while_another_connects", close_while_another_connects},
    {"of_several_that_close_one_succeeds", of_several_that_close_one_succeeds},
    {"foreign_threads", foreign_threads},
    {"ended_by_another_thread", ended_by_another_thread},
    {NULL, NULL},
};
