/* Structs of another size than the library's. Each has exactly the memory that it says, so that whoever reads or
   writes beyond is caught. */
#include "cases.h"

#include <stddef.h>

/* Options of so many bytes. */
static peernet_options *sized(size_t size)
{
    const peernet_options defaults = PEERNET_OPTIONS_INIT;
    uint8_t *options = calloc(1, size);
    CHECK(options != NULL);
    memcpy(options, &defaults, size < sizeof defaults ? size : sizeof defaults);
    memcpy(options, &size, sizeof size);
    return (peernet_options *)options;
}

static void opens(peernet_status expected, size_t size, uint8_t tail)
{
    peernet_options *options = sized(size);
    if (size > offsetof(peernet_options, advertise)) {
        options->listen = "127.0.0.1:0";
    }
    if (size > sizeof *options) {
        ((uint8_t *)options)[size - 1] = tail;
    }
    peernet_mesh mesh = UINT64_MAX;
    IS(expected, peernet_mesh_open(options, &mesh));
    free(options);
    CHECK((mesh != 0) == (expected == PEERNET_OK));
    if (mesh != 0) {
        OK(peernet_mesh_close(mesh));
    }
}

static void a_smaller_struct_size(void)
{
    opens(PEERNET_OK, sizeof(size_t), 0);
    opens(PEERNET_OK, offsetof(peernet_options, advertise), 0);
    opens(PEERNET_OK, offsetof(peernet_options, connect), 0);
    /* In the middle of a field. */
    opens(PEERNET_OK, offsetof(peernet_options, connect) + 3, 0);
}

static void a_larger_struct_size(void)
{
    opens(PEERNET_OK, sizeof(peernet_options) + 1, 0);
    opens(PEERNET_OK, sizeof(peernet_options) + 200, 0);
    opens(PEERNET_ERR_UNSUPPORTED, sizeof(peernet_options) + 200, 1);
}

static void no_struct_size(void)
{
    const size_t none[] = {0, 1, sizeof(size_t) - 1, (1 << 16) + 1, SIZE_MAX / 2, SIZE_MAX};
    for (size_t at = 0; at < sizeof none / sizeof none[0]; at++) {
        peernet_options options = PEERNET_OPTIONS_INIT;
        peernet_report report = PEERNET_REPORT_INIT;
        options.struct_size = report.struct_size = none[at];
        peernet_mesh mesh = UINT64_MAX;
        IS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, &mesh));
        CHECK(mesh == 0);
        mesh = open_node();
        IS(PEERNET_ERR_ARGUMENT, peernet_mesh_broadcast(mesh, HELLO, sizeof HELLO, 0, &report));
        OK(peernet_mesh_close(mesh));
    }
}

static void reports_of_any_size(void)
{
    const size_t sizes[] = {sizeof(size_t), sizeof(size_t) + 5, offsetof(peernet_report, links),
                            sizeof(peernet_report), sizeof(peernet_report) + 40};
    peernet_mesh mesh = open_node();
    for (size_t at = 0; at < sizeof sizes / sizeof sizes[0]; at++) {
        size_t size = sizes[at];
        const uint8_t payload[2] = {0xcc, (uint8_t)at};
        uint8_t *report = malloc(size);
        CHECK(report != NULL);
        memset(report, 0xee, size);
        memcpy(report, &size, sizeof size);
        OK(peernet_mesh_broadcast(mesh, payload, sizeof payload, PATIENCE, (peernet_report *)report));
        CHECK(memcmp(report, &size, sizeof size) == 0);
        for (size_t beyond = sizeof(peernet_report); beyond < size; beyond++) {
            CHECK(report[beyond] == 0xee);
        }
        free(report);
    }
    OK(peernet_mesh_close(mesh));
}

static void options_without_sense(void)
{
    peernet_options options = PEERNET_OPTIONS_INIT;
    peernet_mesh mesh = 0;
    options.listen = "\xff\xfe";
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, &mesh));
    options.listen = "nowhere";
    IS(PEERNET_ERR_ADDRESS, peernet_mesh_open(&options, &mesh));
    options.listen = "127.0.0.1:0";
    options.encryption = "rot13";
    IS(PEERNET_ERR_UNSUPPORTED, peernet_mesh_open(&options, &mesh));
    options.encryption = NULL;
    options.preset = "";
    IS(PEERNET_ERR_CONFIG, peernet_mesh_open(&options, &mesh));
    options.preset = NULL;
    options.durable = 7;
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, &mesh));
    options.durable = PEERNET_DEFAULT;
    const char *const nulls[] = {NULL};
    options.connect_count = 1;
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, &mesh));
    options.connect = nulls;
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, &mesh));
    options.connect_count = SIZE_MAX;
    IS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, &mesh));
    CHECK(mesh == 0);
}

const misuse_case cases[] = {
    {"a_smaller_struct_size", a_smaller_struct_size},
    {"a_larger_struct_size", a_larger_struct_size},
    {"no_struct_size", no_struct_size},
    {"reports_of_any_size", reports_of_any_size},
    {"options_without_sense", options_without_sense},
    {NULL, NULL},
};
