/* Handles that are closed, were never given, or are that of something else. */
#include "cases.h"

static void double_close(void)
{
    peernet_mesh mesh = open_node();
    OK(peernet_mesh_close(mesh));
    IS(PEERNET_ERR_CLOSED, peernet_mesh_close(mesh));
    CHECK(peernet_error_message()[0] != '\0');
    /* Whatever has its place now is not closed by it. */
    peernet_mesh other = open_node();
    CHECK(other != mesh);
    IS(PEERNET_ERR_CLOSED, peernet_mesh_close(mesh));
    OK(peernet_mesh_close(other));
}

static void use_after_close(void)
{
    peernet_mesh mesh = open_node();
    OK(peernet_mesh_close(mesh));
    peernet_mesh other = open_node();
    char text[PEERNET_ADDRESS_SIZE] = "as before";
    peernet_batch *batch = NULL;
    int32_t fd = -1;
    IS(PEERNET_ERR_CLOSED, peernet_mesh_id(mesh, text, sizeof text));
    CHECK(strcmp(text, "as before") == 0);
    IS(PEERNET_ERR_CLOSED, peernet_mesh_poll(mesh, 1, -1, &batch));
    CHECK(batch == NULL);
    IS(PEERNET_ERR_CLOSED, peernet_mesh_poll_fd(mesh, &fd));
    CHECK(fd == -1);
    IS(PEERNET_ERR_CLOSED, peernet_mesh_broadcast(mesh, HELLO, sizeof HELLO, -1, NULL));
    IS(PEERNET_ERR_CLOSED, peernet_mesh_connect(mesh, "127.0.0.1:9", -1, NULL, 0));
    IS(PEERNET_ERR_CLOSED, peernet_mesh_want(mesh, PEERNET_WANT_REQUESTS));
    IS(PEERNET_ERR_CLOSED, peernet_mesh_flush(mesh, -1));
    OK(peernet_mesh_close(other));
}

static void never_given(void)
{
    peernet_mesh mesh = open_node();
    const peernet_mesh none[] = {0, 1, UINT64_MAX, mesh ^ UINT64_C(1) << 32, mesh + 1, mesh ^ UINT64_C(1) << 63};
    for (size_t at = 0; at < sizeof none / sizeof none[0]; at++) {
        char text[PEERNET_ID_SIZE];
        IS(PEERNET_ERR_CLOSED, peernet_mesh_id(none[at], text, sizeof text));
        IS(PEERNET_ERR_CLOSED, peernet_mesh_close(none[at]));
    }
    OK(peernet_mesh_close(mesh));
}

static void opened_again_and_again(void)
{
    peernet_mesh before = 0;
    for (int round = 0; round < 10; round++) {
        peernet_mesh mesh = open_node();
        CHECK(mesh != before);
        IS(PEERNET_ERR_CLOSED, peernet_mesh_close(before));
        OK(peernet_mesh_close(mesh));
        before = mesh;
    }
}

/* What ends the program ends its nodes. */
static void never_closed(void)
{
    peernet_mesh first = open_node();
    peernet_mesh second = open_node();
    join(first, second);
    OK(peernet_mesh_broadcast(first, HELLO, sizeof HELLO, PATIENCE, NULL));
}

static peernet_mesh last;

static void close_last(void)
{
    OK(peernet_mesh_close(last));
}

static void closed_by_the_end_of_the_program(void)
{
    last = open_node();
    CHECK(atexit(close_last) == 0);
}

const misuse_case cases[] = {
    {"double_close", double_close},
    {"use_after_close", use_after_close},
    {"never_given", never_given},
    {"opened_again_and_again", opened_again_and_again},
    {"never_closed", never_closed},
    {"closed_by_the_end_of_the_program", closed_by_the_end_of_the_program},
    {NULL, NULL},
};
