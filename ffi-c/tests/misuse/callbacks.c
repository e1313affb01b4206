/* What callbacks must not do, and what becomes of those that cannot be registered. */
#include "cases.h"

struct seen {
    peernet_mesh mesh;
    pthread_mutex_t lock;
    pthread_cond_t news;
    int messages, drops;
};

static void seen_begin(struct seen *seen, peernet_mesh mesh)
{
    memset(seen, 0, sizeof *seen);
    seen->mesh = mesh;
    CHECK(pthread_mutex_init(&seen->lock, NULL) == 0 && pthread_cond_init(&seen->news, NULL) == 0);
}

static void count(struct seen *seen, int *counter)
{
    CHECK(pthread_mutex_lock(&seen->lock) == 0);
    ++*counter;
    CHECK(pthread_cond_broadcast(&seen->news) == 0 && pthread_mutex_unlock(&seen->lock) == 0);
}

static void wait_for(struct seen *seen, const int *counter)
{
    CHECK(pthread_mutex_lock(&seen->lock) == 0);
    while (*counter == 0) {
        CHECK(pthread_cond_wait(&seen->news, &seen->lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&seen->lock) == 0);
}

static void dropped(void *user)
{
    struct seen *seen = user;
    count(seen, &seen->drops);
}

/* All that waits or receives is refused, also where it would not have to wait. */
static void do_what_is_refused(peernet_mesh mesh)
{
    peernet_batch *batch = NULL;
    peernet_mesh other = 0;
    char text[PEERNET_ID_SIZE];
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_poll(mesh, 1, 0, &batch));
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_poll(mesh, 1, -1, &batch));
    CHECK(batch == NULL);
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_broadcast(mesh, HELLO, sizeof HELLO, -1, NULL));
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_connect(mesh, "127.0.0.1:9", 1000, NULL, 0));
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_flush(mesh, -1));
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_open(NULL, &other));
    CHECK(other == 0);
    IS(PEERNET_ERR_REENTRANT, peernet_mesh_close(mesh));
    OK(peernet_mesh_id(mesh, text, sizeof text));
}

static void misbehave(void *user, const peernet_event *event)
{
    struct seen *seen = user;
    do_what_is_refused(seen->mesh);
    if (event->type == PEERNET_EVENT_MESSAGE) {
        OK(peernet_mesh_reply(seen->mesh, event, HELLO, sizeof HELLO, 0, NULL));
        count(seen, &seen->messages);
    }
}

static void receiving_in_a_callback(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    struct seen seen, again;
    seen_begin(&seen, mesh);
    seen_begin(&again, mesh);
    OK(peernet_mesh_on_event(mesh, misbehave, &seen, dropped));
    peernet_batch *batch = NULL;
    IS(PEERNET_ERR_BUSY, peernet_mesh_poll(mesh, 1, 0, &batch));
    IS(PEERNET_ERR_BUSY, peernet_mesh_on_event(mesh, misbehave, &again, dropped));
    CHECK(again.drops == 1);
    join(other, mesh);
    OK(peernet_mesh_broadcast(other, HELLO, sizeof HELLO, PATIENCE, NULL));
    wait_for(&seen, &seen.messages);
    peernet_batch_free(read_until(other, PEERNET_EVENT_MESSAGE));
    CHECK(seen.drops == 0);
    OK(peernet_mesh_close(mesh));
    CHECK(seen.drops == 1 && seen.messages == 1 && again.messages == 0);
    OK(peernet_mesh_close(other));
}

static int32_t misbehave_and_take(void *user, const peernet_event *message)
{
    misbehave(user, message);
    return 1;
}

static void receiving_in_a_hook(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    struct seen seen;
    seen_begin(&seen, mesh);
    OK(peernet_mesh_on_code(mesh, 0x31, misbehave_and_take, &seen, dropped));
    join(other, mesh);
    OK(peernet_mesh_broadcast_as(other, 0x31, HELLO, sizeof HELLO, PATIENCE, NULL));
    wait_for(&seen, &seen.messages);
    OK(peernet_mesh_on_code(mesh, 0x31, NULL, NULL, NULL));
    wait_for(&seen, &seen.drops);
    OK(peernet_mesh_close(mesh));
    CHECK(seen.drops == 1);
    OK(peernet_mesh_close(other));
}

/* Whatever happens, what was given to be dropped is dropped, and once. */
static void registered_in_vain(void)
{
    peernet_mesh mesh = open_node();
    struct seen seen;
    seen_begin(&seen, mesh);
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_on_event(mesh, NULL, &seen, dropped));
    CHECK(seen.drops == 1);
    IS(PEERNET_ERR_CODE, peernet_mesh_on_code(mesh, 5, misbehave_and_take, &seen, dropped));
    CHECK(seen.drops == 2);
    OK(peernet_mesh_close(mesh));
    IS(PEERNET_ERR_CLOSED, peernet_mesh_on_event(mesh, misbehave, &seen, dropped));
    IS(PEERNET_ERR_CLOSED, peernet_mesh_on_code(mesh, 0x31, misbehave_and_take, &seen, dropped));
    CHECK(seen.drops == 4);
}

const misuse_case cases[] = {
    {"receiving_in_a_callback", receiving_in_a_callback},
    {"receiving_in_a_hook", receiving_in_a_hook},
    {"registered_in_vain", registered_in_vain},
    {NULL, NULL},
};
