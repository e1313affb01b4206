/*
 * The library as C programs have it, as a conformance testee: a JSON object a line in, an answer a line out
 * (conformance/README.md). It uses <peernet.h> and nothing else of peernet.
 *
 *     cc testee.c json.c $(pkg-config --cflags --libs peernet) -o testee
 *     peernet conformance --against ./testee
 *
 * Transcripts are not offered: they set a node's clocks, links and random numbers, and what a C program opens
 * is a node with sockets and a clock of its own.
 */

#define _POSIX_C_SOURCE 200809L

#include <peernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "json.h"

/* The longest base58 integer, in bytes. */
#define MAX_BASE58 1024
#define KEY_LEN 32

/* How a request ends. */
typedef enum {
    DONE,
    REFUSED,    /* it is understood, and what it asks about is refused */
    UNSUPPORTED /* it is not understood */
} outcome;

/* Why the last one was refused. */
static const char *problem = "";

static outcome refused(const char *why) {
    problem = why;
    return REFUSED;
}

static outcome by_library(peernet_status status) {
    return status == PEERNET_OK ? DONE : refused(peernet_error_message());
}

/* Values: an object with one key, its type */

static outcome read_values(const json *values, peernet_writer *out);

static outcome read_value(const json *value, peernet_writer *out) {
    if (!value || value->type != JSON_OBJECT || value->len != 1) return UNSUPPORTED;
    const json *inner = value->first;
    if (json_get(value, "nil")) return by_library(peernet_writer_nil(out));
    if (json_get(value, "bool")) {
        if (inner->type != JSON_TRUE && inner->type != JSON_FALSE) return UNSUPPORTED;
        return by_library(peernet_writer_bool(out, inner->type == JSON_TRUE));
    }
    if (json_get(value, "int")) {
        int64_t integer;
        uint64_t large;
        if (inner->type != JSON_TEXT) return UNSUPPORTED;
        if (json_int(inner, &integer) == 0) return by_library(peernet_writer_int(out, integer));
        if (json_uint(inner, &large) == 0) return by_library(peernet_writer_uint(out, large));
        return refused("an integer that has no form on the wire");
    }
    if (json_get(value, "str")) {
        if (inner->type != JSON_TEXT) return UNSUPPORTED;
        return by_library(peernet_writer_text_len(out, inner->text, inner->len));
    }
    if (json_get(value, "float64") || json_get(value, "bin")) {
        size_t len;
        uint8_t *bytes = json_hex(inner, &len);
        outcome done = UNSUPPORTED;
        if (bytes && json_get(value, "bin")) {
            done = by_library(peernet_writer_bytes(out, bytes, len));
        } else if (bytes && inner->len == 16) {
            uint64_t bits = 0;
            double number;
            for (size_t i = 0; i < len; i++) bits = bits << 8 | bytes[i];
            memcpy(&number, &bits, sizeof(number));
            done = by_library(peernet_writer_float(out, number));
        }
        free(bytes);
        return done;
    }
    if (json_get(value, "array") && inner->type == JSON_ARRAY) {
        outcome begun = by_library(peernet_writer_array(out, (uint32_t)inner->len));
        return begun == DONE ? read_values(inner, out) : begun;
    }
    if (json_get(value, "map") && inner->type == JSON_ARRAY) {
        outcome done = by_library(peernet_writer_map(out, (uint32_t)inner->len));
        for (const json *pair = inner->first; pair && done == DONE; pair = pair->next) {
            done = pair->type == JSON_ARRAY && pair->len == 2 ? read_values(pair, out) : UNSUPPORTED;
        }
        return done;
    }
    return UNSUPPORTED;
}

static outcome read_values(const json *values, peernet_writer *out) {
    outcome done = DONE;
    for (const json *value = values->first; value && done == DONE; value = value->next) {
        done = read_value(value, out);
    }
    return done;
}

static void put_bits(json_out *out, double number) {
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &number, sizeof(bits));
    for (int i = 7; i >= 0; i--, bits >>= 8) bytes[i] = (uint8_t)bits;
    json_put_hex(out, bytes, sizeof(bytes));
}

/* Writes the next `count` values. */
static outcome write_values(peernet_reader *from, size_t count, json_out *out);

static outcome write_value(peernet_reader *from, json_out *out) {
    const char *text;
    const uint8_t *bytes;
    size_t len;
    int32_t truth;
    int64_t integer;
    uint64_t large;
    double number;
    outcome done = DONE;
    switch (peernet_reader_type(from)) {
    case PEERNET_TYPE_NIL:
        json_put(out, "{\"nil\":null");
        done = by_library(peernet_reader_nil(from));
        break;
    case PEERNET_TYPE_BOOL:
        done = by_library(peernet_reader_bool(from, &truth));
        if (done == DONE) json_put(out, truth ? "{\"bool\":true" : "{\"bool\":false");
        break;
    case PEERNET_TYPE_INT:
        json_put(out, "{\"int\":\"");
        if (peernet_reader_int(from, &integer) == PEERNET_OK) {
            json_put_int(out, integer);
        } else {
            done = by_library(peernet_reader_uint(from, &large));
            if (done == DONE) json_put_uint(out, large);
        }
        json_put(out, "\"");
        break;
    case PEERNET_TYPE_FLOAT:
        json_put(out, "{\"float64\":");
        done = by_library(peernet_reader_float(from, &number));
        if (done == DONE) put_bits(out, number);
        break;
    case PEERNET_TYPE_TEXT:
        json_put(out, "{\"str\":");
        done = by_library(peernet_reader_text(from, &text, &len));
        if (done == DONE) json_put_text(out, text, len);
        break;
    case PEERNET_TYPE_BYTES:
        json_put(out, "{\"bin\":");
        done = by_library(peernet_reader_bytes(from, &bytes, &len));
        if (done == DONE) json_put_hex(out, bytes, len);
        break;
    case PEERNET_TYPE_ARRAY:
        json_put(out, "{\"array\":[");
        done = by_library(peernet_reader_array(from, &len));
        if (done == DONE) done = write_values(from, len, out);
        json_put(out, "]");
        break;
    case PEERNET_TYPE_MAP:
        json_put(out, "{\"map\":[");
        done = by_library(peernet_reader_map(from, &len));
        for (size_t i = 0; i < len && done == DONE; i++) {
            json_put(out, i > 0 ? ",[" : "[");
            done = write_values(from, 2, out);
            json_put(out, "]");
        }
        json_put(out, "]");
        break;
    default:
        return refused(peernet_error_message());
    }
    json_put(out, "}");
    return done;
}

static outcome write_values(peernet_reader *from, size_t count, json_out *out) {
    outcome done = DONE;
    for (size_t i = 0; i < count && done == DONE; i++) {
        if (i > 0) json_put(out, ",");
        done = write_value(from, out);
    }
    return done;
}

/* Operations */

typedef outcome operation(const json *request, json_out *out);

static operation hello;

static void put_id(json_out *out, const uint8_t id[32]) {
    json_put(out, "\"id\":");
    json_put_hex(out, id, 32);
}

/* The codes of the methods that are shared; of unknown ones those that fit a byte. To be freed. */
static uint8_t *methods(const json *request, size_t *count) {
    const json *codes = json_get(request, "compression");
    uint8_t *found = (uint8_t *)json_allocate(NULL, codes ? codes->len : 0);
    *count = 0;
    for (const json *code = codes ? codes->first : NULL; code; code = code->next) {
        uint64_t number;
        if (json_uint(code, &number) == 0 && number <= UINT8_MAX) found[(*count)++] = (uint8_t)number;
    }
    return found;
}

static outcome encode_with(const json *request, peernet_codec *codec, peernet_writer *payload, json_out *out) {
    const json *type = json_get(json_get(request, "type"), "int");
    const json *sender = json_get(request, "sender"), *text = json_get(sender, "str");
    const json *bytes = json_get(sender, "bin"), *values = json_get(request, "payload");
    if (!json_get(request, "type") || !sender || !values || values->type != JSON_ARRAY) return UNSUPPORTED;
    peernet_message message = PEERNET_MESSAGE_INIT;
    if (json_uint(type, &message.type) != 0) return refused("the type is no integer that is not negative");
    if (json_int(json_get(request, "time"), &message.time) != 0) return refused("the time is no 64-bit integer");
    outcome done = read_values(values, payload);
    if (done != DONE) return done;
    message.payload = peernet_writer_data(payload);
    message.payload_len = peernet_writer_len(payload);
    uint8_t *owned = json_hex(bytes, &message.sender_len);
    if (owned) {
        message.sender = owned;
        message.sender_form = PEERNET_FORM_BYTES;
    } else if (text && text->type == JSON_TEXT) {
        message.sender = (const uint8_t *)text->text;
        message.sender_len = text->len;
    } else {
        return refused("the sender is neither text nor bytes");
    }
    peernet_writer *frame = peernet_writer_new();
    done = by_library(peernet_encode(&message, codec, frame));
    if (done == DONE) done = by_library(peernet_message_id(&message, message.id));
    if (done == DONE) {
        json_put(out, "{\"frame\":");
        json_put_hex(out, peernet_writer_data(frame), peernet_writer_len(frame));
        json_put(out, ",");
        put_id(out, message.id);
        json_put(out, "}");
    }
    peernet_writer_free(frame);
    free(owned);
    return done;
}

static outcome encode(const json *request, json_out *out) {
    size_t secret_len = 0;
    const json *secret = json_get(request, "secret");
    uint8_t *key = json_hex(secret, &secret_len);
    outcome done = refused("a secret key has 32 bytes");
    peernet_codec codec = PEERNET_CODEC_INIT;
    uint8_t *codes = methods(request, &codec.compression_len);
    codec.compression = codes;
    codec.secret_key = key;
    if (!secret || secret_len == KEY_LEN) {
        peernet_writer *payload = peernet_writer_new();
        done = encode_with(request, &codec, payload, out);
        peernet_writer_free(payload);
    }
    free(codes);
    free(key);
    return done;
}

static outcome put_message(const peernet_message *message, json_out *out) {
    json_put(out, "{\"type\":{\"int\":\"");
    json_put_uint(out, message->type);
    json_put(out, "\"},\"sender\":");
    if (message->sender_form == PEERNET_FORM_TEXT) {
        json_put(out, "{\"str\":");
        json_put_text(out, (const char *)message->sender, message->sender_len);
    } else {
        json_put(out, "{\"bin\":");
        json_put_hex(out, message->sender, message->sender_len);
    }
    json_put(out, "},\"time\":");
    json_put_int(out, message->time);
    json_put(out, ",\"payload\":[");
    peernet_reader reader;
    outcome done = by_library(peernet_reader_init(&reader, message->payload, message->payload_len));
    for (int first = 1; done == DONE && peernet_reader_type(&reader) != PEERNET_TYPE_END; first = 0) {
        if (!first) json_put(out, ",");
        done = write_value(&reader, out);
    }
    json_put(out, "],");
    put_id(out, message->id);
    json_put(out, "}");
    return done;
}

static outcome decode(const json *request, json_out *out) {
    peernet_codec codec = PEERNET_CODEC_INIT;
    const json *sealed = json_get(request, "sealed");
    uint64_t limit;
    size_t len;
    if (json_uint(json_get(request, "max_frame"), &limit) == 0) codec.max_frame = (size_t)limit;
    codec.sealed_protocol = json_text(sealed);
    uint8_t *frame = json_hex(json_get(request, "frame"), &len);
    if (!frame || (sealed && !codec.sealed_protocol)) {
        free(frame);
        return UNSUPPORTED;
    }
    uint8_t *codes = methods(request, &codec.compression_len);
    codec.compression = codes;
    peernet_writer *body = peernet_writer_new();
    peernet_message message = PEERNET_MESSAGE_INIT;
    outcome done = by_library(peernet_decode(frame, len, &codec, body, &message, NULL));
    if (done == DONE) done = put_message(&message, out);
    peernet_writer_free(body);
    free(codes);
    free(frame);
    return done;
}

static outcome put_id_text(peernet_status status, const char *id, json_out *out) {
    if (status != PEERNET_OK) return by_library(status);
    json_put(out, "{\"id\":");
    json_put_text(out, id, strlen(id));
    json_put(out, "}");
    return DONE;
}

static outcome protocol_id(const json *request, json_out *out) {
    const char *subnet = json_text(json_get(request, "subnet"));
    const char *encryption = json_text(json_get(request, "encryption"));
    char id[PEERNET_ID_SIZE];
    if (!subnet || !encryption) return UNSUPPORTED;
    return put_id_text(peernet_protocol_id(subnet, encryption, id, sizeof(id)), id, out);
}

static outcome node_id(const json *request, json_out *out) {
    const char *host = json_text(json_get(request, "host"));
    const char *protocol = json_text(json_get(request, "protocol"));
    const char *salt = json_text(json_get(request, "salt"));
    uint64_t port;
    char id[PEERNET_ID_SIZE];
    if (!host || !protocol || !salt) return UNSUPPORTED;
    if (json_uint(json_get(request, "port"), &port) != 0 || port > UINT16_MAX) return UNSUPPORTED;
    return put_id_text(peernet_node_id(host, (uint16_t)port, protocol, salt, id, sizeof(id)), id, out);
}

static outcome key_id(const json *request, json_out *out) {
    const char *protocol = json_text(json_get(request, "protocol"));
    char id[PEERNET_ID_SIZE];
    size_t len;
    outcome done = UNSUPPORTED;
    uint8_t *key = json_hex(json_get(request, "key"), &len);
    if (key && len == KEY_LEN && protocol) {
        done = put_id_text(peernet_key_id(key, protocol, id, sizeof(id)), id, out);
    }
    free(key);
    return done;
}

static outcome base58_encode(const json *request, json_out *out) {
    size_t len;
    uint8_t *bytes = json_hex(json_get(request, "hex"), &len);
    if (!bytes) return UNSUPPORTED;
    size_t size = 2 * len + 2;
    char *text = (char *)json_allocate(NULL, size);
    outcome done = by_library(peernet_base58_encode(bytes, len, text, size));
    if (done == DONE) {
        json_put(out, "{\"text\":");
        json_put_text(out, text, strlen(text));
        json_put(out, "}");
    }
    free(text);
    free(bytes);
    return done;
}

static outcome base58_decode(const json *request, json_out *out) {
    const json *text = json_get(request, "text");
    uint8_t bytes[MAX_BASE58];
    size_t len;
    if (!text || text->type != JSON_TEXT) return UNSUPPORTED;
    if (!json_text(text)) return refused("a NUL is no base58 digit");
    outcome done = by_library(peernet_base58_decode(text->text, bytes, sizeof(bytes), &len));
    if (done == DONE) {
        json_put(out, "{\"hex\":");
        if (len == 0) json_put(out, "\"0\"");
        else json_put_hex(out, bytes, len);
        json_put(out, "}");
    }
    return done;
}

/* The errors, by the header's constants. */
static const struct {
    const char *name;
    peernet_status status;
} ERRORS[] = {
    {"address", PEERNET_ERR_ADDRESS},
    {"config", PEERNET_ERR_CONFIG},
    {"data", PEERNET_ERR_DATA},
    {"store", PEERNET_ERR_STORE},
    {"unsupported", PEERNET_ERR_UNSUPPORTED},
    {"listen", PEERNET_ERR_LISTEN},
    {"connect", PEERNET_ERR_CONNECT},
    {"unreachable", PEERNET_ERR_UNREACHABLE},
    {"unproven", PEERNET_ERR_UNPROVEN},
    {"not_connected", PEERNET_ERR_NOT_CONNECTED},
    {"timed_out", PEERNET_ERR_TIMED_OUT},
    {"unanswered", PEERNET_ERR_UNANSWERED},
    {"too_many", PEERNET_ERR_TOO_MANY},
    {"needs_tls", PEERNET_ERR_NEEDS_TLS},
    {"search_over", PEERNET_ERR_SEARCH_OVER},
    {"value", PEERNET_ERR_VALUE},
    {"too_large", PEERNET_ERR_TOO_LARGE},
    {"full", PEERNET_ERR_FULL},
    {"repeated", PEERNET_ERR_REPEATED},
    {"lease", PEERNET_ERR_LEASE},
    {"table_full", PEERNET_ERR_TABLE_FULL},
    {"nil", PEERNET_ERR_NIL},
    {"not_a_map", PEERNET_ERR_NOT_A_MAP},
    {"key", PEERNET_ERR_KEY},
    {"code", PEERNET_ERR_CODE},
    {"lagged", PEERNET_ERR_LAGGED},
    {"closed", PEERNET_ERR_CLOSED},
    {"argument", PEERNET_ERR_ARGUMENT},
    {"id", PEERNET_ERR_ID},
    {"identity", PEERNET_ERR_IDENTITY},
    {"secret", PEERNET_ERR_SECRET},
    {"message", PEERNET_ERR_MESSAGE},
    {"type", PEERNET_ERR_TYPE},
    {"end", PEERNET_ERR_END},
    {"no_table", PEERNET_ERR_NO_TABLE},
    {"reentrant", PEERNET_ERR_REENTRANT},
    {"forked", PEERNET_ERR_FORKED},
    {"internal", PEERNET_ERR_INTERNAL},
    {"busy", PEERNET_ERR_BUSY},
};

/* The number of an error in the header, if the library has the same name for it. */
static outcome error_code(const json *request, json_out *out) {
    const json *name = json_get(request, "name");
    if (!name || name->type != JSON_TEXT) return UNSUPPORTED;
    for (size_t i = 0; i < sizeof(ERRORS) / sizeof(ERRORS[0]); i++) {
        if (!json_is(name, ERRORS[i].name)) continue;
        const char *known = peernet_status_name(ERRORS[i].status);
        if (!json_is(name, known)) return refused(known);
        json_put(out, "{\"status\":");
        json_put_int(out, ERRORS[i].status);
        json_put(out, "}");
        return DONE;
    }
    return refused("there is no such error");
}

static const struct {
    const char *name;
    operation *run;
} OPERATIONS[] = {
    {"hello", hello},
    {"encode", encode},
    {"decode", decode},
    {"protocol_id", protocol_id},
    {"node_id", node_id},
    {"key_id", key_id},
    {"base58_encode", base58_encode},
    {"base58_decode", base58_decode},
    {"error_code", error_code},
};
#define OPERATION_COUNT (sizeof(OPERATIONS) / sizeof(OPERATIONS[0]))

static outcome hello(const json *request, json_out *out) {
    (void)request;
    json_put(out, "{\"name\":\"libpeernet from C\",\"version\":");
    json_put_text(out, peernet_version(), strlen(peernet_version()));
    json_put(out, ",\"profile\":\"peernet\",\"ops\":[");
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        if (i > 0) json_put(out, ",");
        json_put_text(out, OPERATIONS[i].name, strlen(OPERATIONS[i].name));
    }
    json_put(out, "]}");
    return DONE;
}

static outcome answer(const json *request, json_out *out) {
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        if (json_is(json_get(request, "op"), OPERATIONS[i].name)) return OPERATIONS[i].run(request, out);
    }
    return UNSUPPORTED;
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    json_out out = {NULL, 0, 0};
    if (peernet_abi_version() != PEERNET_ABI_VERSION) {
        fputs("testee: the library is not that of the header\n", stderr);
        return 1;
    }
    while ((len = getline(&line, &room, stdin)) >= 0) {
        json_document *document = json_read(line, (size_t)len);
        out.len = 0;
        outcome done = document ? answer(json_root(document), &out) : UNSUPPORTED;
        if (done != DONE) out.len = 0;
        if (done == UNSUPPORTED) json_put(&out, "{\"unsupported\":true}");
        if (done == REFUSED) {
            json_put(&out, "{\"error\":");
            json_put_text(&out, problem, strlen(problem));
            json_put(&out, "}");
        }
        json_free(document);
        json_put(&out, "\n");
        if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0) return 1;
    }
    free(out.data);
    free(line);
    return 0;
}
