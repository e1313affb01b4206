/*
 * What the programs of the misuse suite share. Each source has its cases by name, and runs them all, or the one
 * that is named behind it: the last name that it says is that of the case that failed. A case that hangs is ended
 * by the watchdog.
 */
#ifndef CASES_H
#define CASES_H

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <peernet.h>

/* Seconds: much longer than any case takes, under valgrind too. */
#define WATCHDOG 300
/* Milliseconds that a call may wait for what surely comes. */
#define PATIENCE 120000

/* Checks that stay in every build. */
#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #what); \
            exit(1); \
        } \
    } while (0)

/* That a call returns this status. */
#define IS(expected, call) \
    do { \
        peernet_status is_ = (call); \
        if (is_ != (expected)) { \
            fprintf(stderr, "%s:%d: %s gives %s (%s)\n", __FILE__, __LINE__, #call, peernet_status_name(is_), \
                    peernet_error_message()); \
            exit(1); \
        } \
    } while (0)

#define OK(call) IS(PEERNET_OK, call)

typedef struct {
    const char *name;
    void (*run)(void);
} misuse_case;

/* Every source has them, and a last one without a name. */
extern const misuse_case cases[];

int main(int argc, char **argv)
{
    for (const misuse_case *at = cases; at->name != NULL; at++) {
        if (argc < 2 || strcmp(argv[1], at->name) == 0) {
            puts(at->name);
            fflush(stdout);
            alarm(WATCHDOG);
            at->run();
        }
    }
    return 0;
}

/* A node that listens on the loopback, without encryption, which costs time under valgrind. */
static inline peernet_mesh open_node(void)
{
    peernet_options options = PEERNET_OPTIONS_INIT;
    options.listen = "127.0.0.1:0";
    options.encryption = "plaintext";
    options.preset = "local";
    peernet_mesh mesh = 0;
    OK(peernet_mesh_open(&options, &mesh));
    CHECK(mesh != 0);
    return mesh;
}

/* Connects two nodes. */
static inline void join(peernet_mesh from, peernet_mesh to)
{
    char address[PEERNET_ADDRESS_SIZE];
    OK(peernet_mesh_address(to, address, sizeof address));
    OK(peernet_mesh_connect(from, address, PATIENCE, NULL, 0));
}

/* "hello", packed. */
static const uint8_t HELLO[6] = {0xa5, 'h', 'e', 'l', 'l', 'o'};

/* Reads until an event of this type, whose batch is the caller's. */
static inline peernet_batch *read_until(peernet_mesh mesh, uint32_t type)
{
    for (;;) {
        peernet_batch *batch = NULL;
        OK(peernet_mesh_poll(mesh, 1, PATIENCE, &batch));
        if (peernet_batch_at(batch, 0)->type == type) {
            return batch;
        }
        peernet_batch_free(batch);
    }
}

static inline pthread_t start(void *(*run)(void *), void *with)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, with) == 0);
    return thread;
}

static inline void *end(pthread_t thread)
{
    void *result = NULL;
    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

#endif
