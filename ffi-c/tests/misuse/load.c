/* The library as a plug-in has it: loaded and unloaded while the program runs. Not linked with it. */
#include "cases.h"

#include <dlfcn.h>

#define ROUNDS 5

struct library {
    void *loaded;
    peernet_status (*open)(const peernet_options *, peernet_mesh *);
    peernet_status (*address)(peernet_mesh, char *, size_t);
    peernet_status (*connect)(peernet_mesh, const char *, int32_t, char *, size_t);
    peernet_status (*broadcast)(peernet_mesh, const uint8_t *, size_t, int32_t, peernet_report *);
    peernet_status (*poll)(peernet_mesh, size_t, int32_t, peernet_batch **);
    const peernet_event *(*at)(const peernet_batch *, size_t);
    void (*free)(peernet_batch *);
    peernet_status (*close)(peernet_mesh);
};

/* As POSIX has it, because ISO C has no such conversion. */
#define FIND(library, field, name) CHECK((*(void **)&(library)->field = dlsym((library)->loaded, name)) != NULL)

static void load(struct library *library)
{
    library->loaded = dlopen(getenv("PEERNET_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    CHECK(library->loaded != NULL);
    FIND(library, open, "peernet_mesh_open");
    FIND(library, address, "peernet_mesh_address");
    FIND(library, connect, "peernet_mesh_connect");
    FIND(library, broadcast, "peernet_mesh_broadcast");
    FIND(library, poll, "peernet_mesh_poll");
    FIND(library, at, "peernet_batch_at");
    FIND(library, free, "peernet_batch_free");
    FIND(library, close, "peernet_mesh_close");
}

static peernet_mesh open_one(const struct library *library, const char *data_dir)
{
    peernet_options options = PEERNET_OPTIONS_INIT;
    options.listen = "127.0.0.1:0";
    /* The ciphers of TLS are assembly, in which valgrind sees errors that are none. */
    options.encryption = "plaintext";
    options.data_dir = data_dir;
    peernet_mesh mesh = 0;
    CHECK(library->open(&options, &mesh) == PEERNET_OK);
    return mesh;
}

/* Has a message go from one node to another. */
static void use(const struct library *library)
{
    peernet_mesh mesh = open_one(library, "data"), other = open_one(library, NULL);
    char address[PEERNET_ADDRESS_SIZE];
    CHECK(library->address(mesh, address, sizeof address) == PEERNET_OK);
    CHECK(library->connect(other, address, PATIENCE, NULL, 0) == PEERNET_OK);
    CHECK(library->connect(other, "nowhere", PATIENCE, NULL, 0) == PEERNET_ERR_ADDRESS);
    CHECK(library->broadcast(other, HELLO, sizeof HELLO, PATIENCE, NULL) == PEERNET_OK);
    for (uint32_t type = 0; type != PEERNET_EVENT_MESSAGE;) {
        peernet_batch *batch = NULL;
        CHECK(library->poll(mesh, 1, PATIENCE, &batch) == PEERNET_OK);
        type = library->at(batch, 0)->type;
        library->free(batch);
    }
    CHECK(library->close(mesh) == PEERNET_OK);
    CHECK(library->close(other) == PEERNET_OK);
}

static void *load_use_and_unload(void *unused)
{
    struct library library;
    load(&library);
    use(&library);
    CHECK(dlclose(library.loaded) == 0);
    return unused;
}

static void unloaded_again_and_again(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        load_use_and_unload(NULL);
    }
}

static void unloaded_by_threads_that_end(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        end(start(load_use_and_unload, NULL));
    }
}

static void *use_on_a_thread(void *library)
{
    use(library);
    return NULL;
}

/* The thread that unloads has never called it. */
static void unloaded_by_a_thread_that_did_not_use_it(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct library library;
        load(&library);
        end(start(use_on_a_thread, &library));
        CHECK(dlclose(library.loaded) == 0);
    }
}

/* The node's threads go on, and so the library stays. */
static void unloaded_with_an_open_node(void)
{
    struct library library;
    load(&library);
    peernet_mesh mesh = open_one(&library, NULL);
    CHECK(dlclose(library.loaded) == 0);
    load(&library);
    use(&library);
    CHECK(library.close(mesh) == PEERNET_OK);
    mesh = open_one(&library, NULL);
    CHECK(dlclose(library.loaded) == 0);
}

const misuse_case cases[] = {
    {"unloaded_again_and_again", unloaded_again_and_again},
    {"unloaded_by_threads_that_end", unloaded_by_threads_that_end},
    {"unloaded_by_a_thread_that_did_not_use_it", unloaded_by_a_thread_that_did_not_use_it},
    {"unloaded_with_an_open_node", unloaded_with_an_open_node},
    {NULL, NULL},
};
