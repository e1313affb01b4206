/*
 * A program that was compiled with the header of an earlier version, of this one or of a later one (HEADER, and
 * LATER for the last): it works with this library, and is told what this library cannot do. It says the sizes of
 * its structs.
 */
#include HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s does not hold (%s)\n", __FILE__, __LINE__, #what, peernet_error_message()); \
            exit(1); \
        } \
    } while (0)

/* Milliseconds. */
#define PATIENCE 60000

static const uint8_t HELLO[6] = {0xa5, 'h', 'e', 'l', 'l', 'o'};

/* On memory of exactly their size, so that a wrong access is seen under what watches memory. */
static peernet_mesh open_node(const char *connect)
{
    const peernet_options defaults = PEERNET_OPTIONS_INIT;
    peernet_options *options = malloc(sizeof *options);
    CHECK(options != NULL);
    *options = defaults;
    options->listen = "127.0.0.1:0";
    options->encryption = "plaintext";
    options->preset = "local";
    /* The last fields of the earliest header. */
    options->connect = &connect;
    options->connect_count = connect != NULL;
    peernet_mesh mesh = 0;
    CHECK(peernet_mesh_open(options, &mesh) == PEERNET_OK);
#ifdef LATER
    options->later = 1;
    peernet_mesh none = 1;
    CHECK(peernet_mesh_open(options, &none) == PEERNET_ERR_UNSUPPORTED && none == 0);
#endif
    free(options);
    return mesh;
}

/* Reads until a message, which is HELLO. */
static void read_hello(peernet_mesh mesh)
{
    for (uint32_t type = 0; type != PEERNET_EVENT_MESSAGE;) {
        peernet_batch *batch = NULL;
        CHECK(peernet_mesh_poll(mesh, 64, PATIENCE, &batch) == PEERNET_OK);
        for (size_t at = 0; at < peernet_batch_len(batch); at++) {
            const peernet_event *event = peernet_batch_at(batch, at);
            type = event->type;
            if (type == PEERNET_EVENT_MESSAGE) {
                CHECK(event->peer != NULL && event->payload_len == sizeof HELLO);
                CHECK(memcmp(event->payload, HELLO, sizeof HELLO) == 0);
            }
#ifdef LATER
            /* What the library does not have is not there to be read. */
            CHECK(event->struct_size <= offsetof(peernet_event, later));
#else
            CHECK(event->struct_size >= sizeof *event);
#endif
        }
        peernet_batch_free(batch);
    }
}

int main(void)
{
    CHECK(peernet_abi_version() == PEERNET_ABI_VERSION);
    peernet_mesh mesh = open_node(NULL);
    char address[PEERNET_ADDRESS_SIZE];
    CHECK(peernet_mesh_address(mesh, address, sizeof address) == PEERNET_OK);
    peernet_mesh other = open_node(address);
    CHECK(peernet_mesh_connect(other, address, PATIENCE, NULL, 0) == PEERNET_OK);

    const peernet_report begin = PEERNET_REPORT_INIT;
    peernet_report *report = malloc(sizeof *report);
    CHECK(report != NULL);
    *report = begin;
#ifdef LATER
    report->later = 7;
#endif
    CHECK(peernet_mesh_broadcast(other, HELLO, sizeof HELLO, PATIENCE, report) == PEERNET_OK);
    CHECK(report->struct_size == sizeof *report && memcmp(report->id, begin.id, sizeof begin.id) != 0);
#ifdef LATER
    CHECK(report->later == 7);
#endif
    free(report);
    read_hello(mesh);
    CHECK(peernet_mesh_close(mesh) == PEERNET_OK && peernet_mesh_close(other) == PEERNET_OK);
    printf("%zu %zu %zu\n", sizeof(peernet_options), sizeof(peernet_report), sizeof(peernet_event));
    return 0;
}
