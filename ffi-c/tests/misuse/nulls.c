/* Every function of the header, with null for each pointer and for all of them, and with handles of nothing. */
#include "cases.h"

#define SAYS(call) puts(#call); fflush(stdout)

/* Of functions that return a status: null where something must be, ... */
#define ARGUMENT(call) SAYS(call); IS(PEERNET_ERR_ARGUMENT, call); tidy();
/* ... some other error, ... */
#define ERROR(call) SAYS(call); CHECK((call) < 0); tidy();
/* ... and null where it has a meaning. */
#define ANYTHING(call) SAYS(call); (void)(call); tidy();
/* Of the others. */
#define RETURNS(call) SAYS(call); (void)(call); tidy();

static peernet_mesh mesh, closed, opened;
static peernet_table table;
static peernet_batch *batch;
static peernet_writer *writer;
/* For whatever is written: texts, numbers, pointers. */
static uint64_t number[4];
static void *place = number;
static char text[1024];
static void *room = text;
static char identity[PEERNET_IDENTITY_SIZE];
/* One value of so many bytes, packed, which may be a secret too. */
#define SIZE 32
static const uint8_t bytes[SIZE] = {0xc4, SIZE - 2};

/* A reader at its begin. */
static peernet_reader *reader(void)
{
    static peernet_reader from_the_begin;
    OK(peernet_reader_init(&from_the_begin, bytes, SIZE));
    return &from_the_begin;
}

/* Lets go of what a call has made. */
static void tidy(void)
{
    peernet_batch_free(batch);
    batch = NULL;
    if (opened != 0) {
        OK(peernet_mesh_close(opened));
        opened = 0;
    }
}

static void every_function(void)
{
    const peernet_options options = PEERNET_OPTIONS_INIT;
    peernet_report report = PEERNET_REPORT_INIT;
    const peernet_query query = PEERNET_QUERY_INIT;
    const peernet_codec codec = PEERNET_CODEC_INIT;
    peernet_message message = PEERNET_MESSAGE_INIT;
    writer = peernet_writer_new();
    OK(peernet_identity_new(identity, sizeof identity));
    closed = open_node();
    OK(peernet_mesh_close(closed));
    OK(peernet_mesh_open(&options, &mesh));
    OK(peernet_table_open(NULL, &table));
    OK(peernet_table_set(table, bytes, SIZE, bytes, SIZE, PATIENCE, NULL));
#include "calls.h"
    peernet_writer_free(writer);
    OK(peernet_mesh_close(mesh));
    OK(peernet_mesh_close(table));
}

const misuse_case cases[] = {
    {"every_function", every_function},
    {NULL, NULL},
};
