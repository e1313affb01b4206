/* Events that are not read, or not freed in time. */
#include "cases.h"

#include <poll.h>
#include <time.h>

static void send_some(peernet_mesh mesh, int count)
{
    for (int at = 0; at < count; at++) {
        const uint8_t payload[3] = {0xcd, (uint8_t)(at >> 8), (uint8_t)at};
        OK(peernet_mesh_broadcast(mesh, payload, sizeof payload, PATIENCE, NULL));
    }
}

static void left_unread(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    join(other, mesh);
    OK(peernet_mesh_want(mesh, PEERNET_WANT_REQUESTS | PEERNET_WANT_SEARCHES));
    send_some(other, 500);
    peernet_batch_free(read_until(mesh, PEERNET_EVENT_MESSAGE));
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

static void a_batch_outlives_its_node(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    join(other, mesh);
    OK(peernet_mesh_broadcast(other, HELLO, sizeof HELLO, PATIENCE, NULL));
    peernet_batch *batch = read_until(mesh, PEERNET_EVENT_MESSAGE);
    char author[PEERNET_ID_SIZE];
    OK(peernet_mesh_id(other, author, sizeof author));
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
    const peernet_event *event = peernet_batch_at(batch, 0);
    CHECK(strcmp(event->peer, author) == 0);
    CHECK(event->payload_len == sizeof HELLO && memcmp(event->payload, HELLO, sizeof HELLO) == 0);
    IS(PEERNET_ERR_CLOSED, peernet_mesh_reply(mesh, event, HELLO, sizeof HELLO, 0, NULL));
    peernet_batch_free(batch);
}

static void beyond_the_end_of_a_batch(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    join(other, mesh);
    peernet_batch *batch = read_until(mesh, PEERNET_EVENT_CONNECTED);
    CHECK(peernet_batch_len(batch) == 1);
    CHECK(peernet_batch_at(batch, 1) == NULL && peernet_batch_at(batch, SIZE_MAX) == NULL);
    /* It is no message, and has no author to answer. */
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_reply(mesh, peernet_batch_at(batch, 0), HELLO, sizeof HELLO, 0, NULL));
    peernet_batch_free(batch);
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

static void a_slow_program_is_told(void)
{
    peernet_options options = PEERNET_OPTIONS_INIT;
    options.listen = "127.0.0.1:0";
    options.encryption = "plaintext";
    options.queue = 8;
    peernet_mesh mesh = 0, other = open_node();
    OK(peernet_mesh_open(&options, &mesh));
    join(other, mesh);
    send_some(other, 200);
    for (uint64_t lagged = 0; lagged == 0;) {
        OK(peernet_mesh_stat(mesh, "lagged", &lagged));
        const struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    peernet_batch *batch = read_until(mesh, PEERNET_EVENT_LAGGED);
    CHECK(peernet_batch_at(batch, 0)->count > 0);
    peernet_batch_free(batch);
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

static void odd_sizes(void)
{
    peernet_mesh mesh = open_node();
    peernet_batch *batch = (peernet_batch *)&mesh;
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_poll(mesh, 0, -1, &batch));
    CHECK(batch == NULL);
    IS(PEERNET_ERR_TIMED_OUT, peernet_mesh_poll(mesh, SIZE_MAX, 0, &batch));
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_broadcast(mesh, HELLO, SIZE_MAX, 0, NULL));
    IS(PEERNET_ERR_VALUE, peernet_mesh_broadcast(mesh, HELLO, sizeof HELLO - 1, 0, NULL));
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_want(mesh, UINT32_MAX));
    char text[4] = "abc";
    IS(PEERNET_ERR_TOO_LARGE, peernet_mesh_id(mesh, text, sizeof text));
    CHECK(strcmp(text, "") == 0);
    IS(PEERNET_ERR_TOO_LARGE, peernet_mesh_id(mesh, text, 0));
    OK(peernet_mesh_close(mesh));
}

static int32_t fd_of(peernet_mesh mesh)
{
    int32_t fd = -1, again = -1;
    OK(peernet_mesh_poll_fd(mesh, &fd));
    OK(peernet_mesh_poll_fd(mesh, &again));
    CHECK(fd >= 0 && fd == again);
    return fd;
}

static void a_descriptor_of_unread_events(void)
{
    peernet_mesh mesh = open_node(), other = open_node();
    struct pollfd wait = {fd_of(mesh), POLLIN, 0};
    join(other, mesh);
    CHECK(poll(&wait, 1, PATIENCE) == 1 && wait.revents == POLLIN);
    /* It stays readable until all is read. */
    CHECK(poll(&wait, 1, 0) == 1);
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

const misuse_case cases[] = {
    {"left_unread", left_unread},
    {"a_batch_outlives_its_node", a_batch_outlives_its_node},
    {"beyond_the_end_of_a_batch", beyond_the_end_of_a_batch},
    {"a_slow_program_is_told", a_slow_program_is_told},
    {"odd_sizes", odd_sizes},
    {"a_descriptor_of_unread_events", a_descriptor_of_unread_events},
    {NULL, NULL},
};
