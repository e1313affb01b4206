/*
 * The receiver in C. It says its address, and does what the lines on its standard input say:
 *   drain N    waits until N messages are in its queue, takes them out, and says in how many nanoseconds
 *   stream S   reads for S seconds from the next message on, and says how many messages came each second
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <peernet.h>

/* Events read at once. */
#define BATCH 64

static uint64_t sum;

static void must(peernet_status status)
{
    if (status != PEERNET_OK) {
        fprintf(stderr, "poll: %s\n", peernet_error_message());
        exit(1);
    }
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Messages of a batch, each looked at, and frees it. */
static uint64_t read_batch(peernet_batch *batch)
{
    uint64_t messages = 0;
    size_t len = peernet_batch_len(batch);
    for (size_t at = 0; at < len; at++) {
        const peernet_event *event = peernet_batch_at(batch, at);
        if (event->type == PEERNET_EVENT_MESSAGE) {
            messages++;
            sum += event->payload_len;
        }
    }
    peernet_batch_free(batch);
    return messages;
}

static void drain(peernet_mesh mesh, uint64_t count)
{
    static uint64_t before;
    uint64_t delivered = 0;
    do {
        const struct timespec while_they_come = {0, 1000000};
        nanosleep(&while_they_come, NULL);
        must(peernet_mesh_stat(mesh, "delivered", &delivered));
    } while (delivered < before + count);
    before = delivered;
    uint64_t messages = 0, start = now();
    while (messages < count) {
        peernet_batch *batch;
        must(peernet_mesh_poll(mesh, BATCH, -1, &batch));
        messages += read_batch(batch);
    }
    printf("%llu\n", (unsigned long long)(now() - start));
}

static void stream(peernet_mesh mesh, uint64_t seconds)
{
    peernet_batch *batch;
    do {
        must(peernet_mesh_poll(mesh, BATCH, -1, &batch));
    } while (read_batch(batch) == 0);
    uint64_t messages = 0, start = now(), spent;
    do {
        must(peernet_mesh_poll(mesh, BATCH, -1, &batch));
        messages += read_batch(batch);
        spent = now() - start;
    } while (spent < seconds * 1000000000);
    printf("%llu\n", (unsigned long long)((double)messages * 1e9 / (double)spent));
}

int main(void)
{
    peernet_options options = PEERNET_OPTIONS_INIT;
    options.listen = "127.0.0.1:0";
    options.encryption = "plaintext";
    options.preset = "local";
    peernet_mesh mesh;
    must(peernet_mesh_open(&options, &mesh));
    char text[PEERNET_ADDRESS_SIZE];
    must(peernet_mesh_address(mesh, text, sizeof text));
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts(text);
    while (fgets(text, sizeof text, stdin) != NULL) {
        if (strncmp(text, "drain ", 6) == 0) {
            drain(mesh, strtoull(text + 6, NULL, 10));
        } else {
            stream(mesh, strtoull(text + 7, NULL, 10));
        }
    }
    must(peernet_mesh_close(mesh));
    return sum == 0;
}
