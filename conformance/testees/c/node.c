/*
 * A node that a program drives as it does `peernet node --json`: commands on stdin, events on stdout, one JSON
 * object a line. It has what tests with other implementations need, and uses <peernet.h> alone.
 *
 *     cc node.c forms.c json.c $(pkg-config --cflags --libs peernet) -o node
 *     ./node --listen 127.0.0.1:4444 --encryption plaintext
 */

#define _POSIX_C_SOURCE 200809L

#include <peernet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forms.h"
#include "json.h"

/* Messages that can be answered by their id. */
#define ANSWERABLE 1024
/* Events that are taken at once. */
#define BATCH 64

static peernet_mesh mesh;

typedef struct {
    uint8_t id[32];
    char author[PEERNET_ID_SIZE];
} heard;

static heard recent[ANSWERABLE];
static size_t recent_count;

/* Lines */

static json_out line;

static void put(const char *raw) { json_put(&line, raw); }

static void put_string(const char *text) {
    if (text) json_put_text(&line, text, strlen(text));
    else put("null");
}

static void end_line(void) {
    put("\n");
    if (fwrite(line.data, 1, line.len, stdout) != line.len || fflush(stdout)) exit(1);
    line.len = 0;
}

/* Events */

static void remember(const peernet_event *message) {
    heard *place = &recent[recent_count++ % ANSWERABLE];
    memcpy(place->id, message->id, sizeof(place->id));
    snprintf(place->author, sizeof(place->author), "%s", message->peer);
}

static void tell_message(const peernet_event *message) {
    remember(message);
    put("{\"event\":\"message\",\"kind\":");
    put(message->kind == PEERNET_BROADCAST ? "\"broadcast\",\"id\":" : "\"whisper\",\"id\":");
    json_put_hex(&line, message->id, sizeof(message->id));
    put(",\"sender\":");
    put_string(message->peer);
    put(",\"time\":");
    json_put_int(&line, message->time);
    put(",\"payload\":");
    if (forms_write_all(message->payload, message->payload_len, &line)) exit(1);
    put("}");
    end_line();
}

static void tell(const peernet_event *event) {
    switch (event->type) {
    case PEERNET_EVENT_MESSAGE: tell_message(event); return;
    case PEERNET_EVENT_CONNECTED: put("{\"event\":\"connected\",\"address\":"); put_string(event->address); break;
    case PEERNET_EVENT_DISCONNECTED: put("{\"event\":\"disconnected\",\"reason\":"); put_string(event->reason); break;
    case PEERNET_EVENT_LAGGED: put("{\"event\":\"lagged\",\"count\":"); json_put_uint(&line, event->count); break;
    default: return;
    }
    if (event->peer) {
        put(",\"peer\":");
        put_string(event->peer);
    }
    put("}");
    end_line();
}

static void tell_all(void) {
    peernet_batch *batch;
    while (peernet_mesh_poll(mesh, BATCH, 0, &batch) == PEERNET_OK) {
        for (size_t i = 0; i < peernet_batch_len(batch); i++) tell(peernet_batch_at(batch, i));
        peernet_batch_free(batch);
    }
}

/* Commands. Each writes its result behind what stands in the line already. */

/* As the library's errors, for what it was never asked. */
static peernet_status usage(const char **why, const char *text) {
    *why = text;
    return PEERNET_ERR_ARGUMENT;
}

static void put_report(const peernet_report *report) {
    put("{\"id\":");
    json_put_hex(&line, report->id, sizeof(report->id));
    put(",\"links\":");
    json_put_uint(&line, report->links);
    put("}");
}

static peernet_status do_connect(const json *command, const char **why) {
    const char *address = json_text(json_get(command, "address"));
    char id[PEERNET_ID_SIZE];
    if (!address) return usage(why, "connect needs an address");
    peernet_status status = peernet_mesh_connect(mesh, address, -1, id, sizeof(id));
    if (status == PEERNET_OK) {
        put("{\"peer\":");
        put_string(id);
        put("}");
    }
    return status;
}

static peernet_status do_disconnect(const json *command, const char **why) {
    const char *peer = json_text(json_get(command, "peer"));
    if (!peer) return usage(why, "disconnect needs a peer");
    put("null");
    return peernet_mesh_disconnect(mesh, peer, -1);
}

static peernet_status do_peers(const json *command, const char **why) {
    (void)command;
    (void)why;
    peernet_reader reader;
    peernet_writer *peers = peernet_writer_new();
    peernet_status status = peernet_mesh_peers(mesh, peers);
    if (status == PEERNET_OK) {
        status = peernet_reader_init(&reader, peernet_writer_data(peers), peernet_writer_len(peers));
    }
    if (status == PEERNET_OK && forms_write(&reader, &line)) exit(1);
    peernet_writer_free(peers);
    return status;
}

/* To everyone, or to `peer`. */
static peernet_status send_to(const json *command, const char *peer, const char **why) {
    peernet_report report = PEERNET_REPORT_INIT;
    peernet_writer *payload = peernet_writer_new();
    peernet_status status = PEERNET_ERR_VALUE;
    if (forms_read_all(json_get(command, "payload"), payload)) {
        *why = "the payload is no array of values";
    } else {
        const uint8_t *data = peernet_writer_data(payload);
        size_t len = peernet_writer_len(payload);
        status = peer ? peernet_mesh_send(mesh, peer, data, len, -1, &report)
                      : peernet_mesh_broadcast(mesh, data, len, -1, &report);
    }
    peernet_writer_free(payload);
    if (status == PEERNET_OK) put_report(&report);
    return status;
}

static peernet_status do_broadcast(const json *command, const char **why) { return send_to(command, NULL, why); }

static peernet_status do_send(const json *command, const char **why) {
    const char *peer = json_text(json_get(command, "peer"));
    return peer ? send_to(command, peer, why) : usage(why, "send needs a peer");
}

static peernet_status do_reply(const json *command, const char **why) {
    size_t len;
    uint8_t *id = json_hex(json_get(command, "to"), &len);
    const heard *found = NULL;
    for (size_t i = 0; id && len == 32 && i < ANSWERABLE && i < recent_count; i++) {
        if (memcmp(recent[i].id, id, len) == 0) found = &recent[i];
    }
    free(id);
    return found ? send_to(command, found->author, why) : usage(why, "it is none of the last messages");
}

static const struct {
    const char *name;
    peernet_status (*run)(const json *command, const char **why);
} COMMANDS[] = {
    {"connect", do_connect},     {"disconnect", do_disconnect}, {"peers", do_peers},
    {"broadcast", do_broadcast}, {"send", do_send},             {"reply", do_reply},
};

static peernet_status run(const json *command, const char **why) {
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (json_is(json_get(command, "do"), COMMANDS[i].name)) return COMMANDS[i].run(command, why);
    }
    return usage(why, "there is no such command here");
}

static void obey(char *text, size_t len) {
    json_document *document = json_read(text, len);
    const json *command = document ? json_root(document) : NULL, *reference = json_get(command, "ref");
    const char *why = NULL;
    put("{\"event\":\"result\",\"value\":");
    peernet_status status = run(command, &why);
    if (status != PEERNET_OK) {
        line.len = 0;
        put("{\"event\":\"error\",\"code\":");
        put_string(peernet_status_name(status));
        put(",\"error\":");
        put_string(why ? why : peernet_error_message());
    }
    if (reference) {
        put(",\"ref\":");
        json_put_json(&line, reference);
    }
    put("}");
    end_line();
    json_free(document);
}

/* The loop */

typedef struct {
    char *data;
    size_t len;
    size_t room;
} input;

/* Reads what there is, and does what it says: 0 at its end. */
static int obey_input(input *in) {
    if (in->room - in->len < 4096) {
        in->room = in->room * 2 + 8192;
        in->data = (char *)json_allocate(in->data, in->room);
    }
    ssize_t more = read(STDIN_FILENO, in->data + in->len, in->room - in->len);
    if (more <= 0) return 0;
    in->len += (size_t)more;
    char *start = in->data, *end = in->data + in->len, *newline;
    while ((newline = (char *)memchr(start, '\n', (size_t)(end - start)))) {
        obey(start, (size_t)(newline - start));
        start = newline + 1;
    }
    in->len = (size_t)(end - start);
    memmove(in->data, start, in->len);
    return 1;
}

static void talk(int events) {
    input in = {NULL, 0, 0};
    struct pollfd readable[2] = {{STDIN_FILENO, POLLIN, 0}, {events, POLLIN, 0}};
    do {
        if (poll(readable, 2, -1) < 0) break;
        if (readable[1].revents) tell_all();
    } while (!readable[0].revents || obey_input(&in));
    tell_all();
    free(in.data);
}

static int fail(void) {
    fprintf(stderr, "node: %s\n", peernet_error_message());
    return 1;
}

static void tell_listening(void) {
    char id[PEERNET_ID_SIZE], protocol[PEERNET_ID_SIZE], address[PEERNET_ADDRESS_SIZE];
    if (peernet_mesh_id(mesh, id, sizeof(id)) || peernet_mesh_protocol(mesh, protocol, sizeof(protocol)) ||
        peernet_mesh_address(mesh, address, sizeof(address))) {
        exit(fail());
    }
    put("{\"event\":\"listening\",\"address\":");
    put_string(address);
    put(",\"id\":");
    put_string(id);
    put(",\"protocol\":");
    put_string(protocol);
    put("}");
    end_line();
}

int main(int count, char **args) {
    peernet_options options = PEERNET_OPTIONS_INIT;
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(args[i], "--listen")) options.listen = args[i + 1];
        else if (!strcmp(args[i], "--advertise")) options.advertise = args[i + 1];
        else if (!strcmp(args[i], "--encryption")) options.encryption = args[i + 1];
        else if (!strcmp(args[i], "--subnet")) options.subnet = args[i + 1];
        else return 2;
    }
    int32_t events;
    if (peernet_mesh_open(&options, &mesh) || peernet_mesh_poll_fd(mesh, &events)) return fail();
    tell_listening();
    talk(events);
    if (peernet_mesh_close(mesh)) return fail();
    free(line.data);
    return 0;
}
