#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *json_allocate(void *memory, size_t size) {
    memory = realloc(memory, size ? size : 1);
    if (!memory) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* Reading */

#define BLOCK 256

typedef struct block {
    struct block *next;
    size_t used;
    json values[BLOCK];
} block;

struct json_document {
    block *blocks;
    json *root;
};

typedef struct {
    json_document *document;
    char *at;
    char *end;
} reader;

static json *new_value(reader *r) {
    block *first = r->document->blocks;
    if (!first || first->used == BLOCK) {
        block *more = (block *)json_allocate(NULL, sizeof(block));
        more->next = first;
        more->used = 0;
        r->document->blocks = first = more;
    }
    json *value = &first->values[first->used++];
    memset(value, 0, sizeof(*value));
    return value;
}

static void skip_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static int next_is(reader *r, char wanted) {
    if (r->at == r->end || *r->at != wanted) return 0;
    r->at++;
    return 1;
}

static int word(reader *r, const char *wanted) {
    size_t len = strlen(wanted);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, wanted, len) != 0) return 0;
    r->at += len;
    return 1;
}

static int digits(reader *r) {
    char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return r->at > from;
}

static int number(reader *r, json *value) {
    value->type = JSON_NUMBER;
    value->text = r->at;
    next_is(r, '-');
    if (!next_is(r, '0') && !digits(r)) return 0;
    if (next_is(r, '.') && !digits(r)) return 0;
    if (next_is(r, 'e') || next_is(r, 'E')) {
        if (!next_is(r, '+')) next_is(r, '-');
        if (!digits(r)) return 0;
    }
    value->len = (size_t)(r->at - value->text);
    return 1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four digits of an escape; negative if they are none. */
static long unit(reader *r) {
    long value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = r->at < r->end ? hex_digit(*r->at++) : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *to, long c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    } else {
        *to++ = (char)(0xF0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    }
    return to;
}

/* What a backslash stands before; null if it may not. */
static char *escape(reader *r, char *to) {
    if (r->at == r->end) return NULL;
    char c = *r->at++;
    switch (c) {
    case '"': case '\\': case '/': *to++ = c; return to;
    case 'b': *to++ = '\b'; return to;
    case 'f': *to++ = '\f'; return to;
    case 'n': *to++ = '\n'; return to;
    case 'r': *to++ = '\r'; return to;
    case 't': *to++ = '\t'; return to;
    case 'u': break;
    default: return NULL;
    }
    long high = unit(r);
    if (high < 0 || (high >= 0xDC00 && high < 0xE000)) return NULL;
    if (high < 0xD800 || high >= 0xE000) return put_utf8(to, high);
    /* Half of a pair, which is nothing without the other. */
    if (!next_is(r, '\\') || !next_is(r, 'u')) return NULL;
    long low = unit(r);
    if (low < 0xDC00 || low >= 0xE000) return NULL;
    return put_utf8(to, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
}

/* Bytes of the UTF-8 character here; 0 if there is none. */
static size_t utf8_len(const char *at, const char *end) {
    const unsigned char *c = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    size_t len = c[0] < 0x80 ? 1 : c[0] < 0xC2 ? 0 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : c[0] < 0xF5 ? 4 : 0;
    if (len > left) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((c[i] & 0xC0) != 0x80) return 0;
    }
    if (len == 3 && ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] >= 0xA0))) return 0;
    if (len == 4 && ((c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] >= 0x90))) return 0;
    return len;
}

/* Reads a text where it stands: what it means is never longer than how it is written. */
static int text(reader *r, const char **start, size_t *len) {
    if (!next_is(r, '"')) return 0;
    char *to = r->at;
    *start = to;
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20) return 0;
        if (next_is(r, '\\')) {
            if (!(to = escape(r, to))) return 0;
            continue;
        }
        size_t bytes = utf8_len(r->at, r->end);
        if (bytes == 0) return 0;
        memmove(to, r->at, bytes);
        to += bytes;
        r->at += bytes;
    }
    if (!next_is(r, '"')) return 0;
    *to = '\0';
    *len = (size_t)(to - *start);
    return 1;
}

static json *value(reader *r, int levels);

static int members(reader *r, json *into, char last, int levels) {
    json **place = &into->first;
    skip_space(r);
    if (next_is(r, last)) return 1;
    for (;;) {
        const char *key = NULL;
        size_t key_len = 0;
        skip_space(r);
        if (last == '}') {
            if (!text(r, &key, &key_len)) return 0;
            skip_space(r);
            if (!next_is(r, ':')) return 0;
        }
        json *member = value(r, levels);
        if (!member) return 0;
        member->key = key;
        member->key_len = key_len;
        *place = member;
        place = &member->next;
        into->len++;
        skip_space(r);
        if (next_is(r, last)) return 1;
        if (!next_is(r, ',')) return 0;
    }
}

static json *value(reader *r, int levels) {
    json *found = new_value(r);
    skip_space(r);
    if (r->at == r->end) return NULL;
    int read;
    switch (*r->at) {
    case 'n': found->type = JSON_NULL; read = word(r, "null"); break;
    case 'f': found->type = JSON_FALSE; read = word(r, "false"); break;
    case 't': found->type = JSON_TRUE; read = word(r, "true"); break;
    case '"': found->type = JSON_TEXT; read = text(r, &found->text, &found->len); break;
    case '[':
    case '{':
        found->type = *r->at == '[' ? JSON_ARRAY : JSON_OBJECT;
        r->at++;
        read = levels > 0 && members(r, found, found->type == JSON_ARRAY ? ']' : '}', levels - 1);
        break;
    default: read = number(r, found);
    }
    return read ? found : NULL;
}

json_document *json_read(char *bytes, size_t len) {
    json_document *document = (json_document *)json_allocate(NULL, sizeof(*document));
    document->blocks = NULL;
    reader r = {document, bytes, bytes + len};
    document->root = value(&r, JSON_MAX_LEVELS);
    skip_space(&r);
    if (document->root && r.at == r.end) return document;
    json_free(document);
    return NULL;
}

const json *json_root(const json_document *document) { return document->root; }

void json_free(json_document *document) {
    if (!document) return;
    while (document->blocks) {
        block *next = document->blocks->next;
        free(document->blocks);
        document->blocks = next;
    }
    free(document);
}

/* Looking at what was read */

const json *json_get(const json *object, const char *key) {
    size_t len = strlen(key);
    if (!object || object->type != JSON_OBJECT) return NULL;
    for (const json *member = object->first; member; member = member->next) {
        if (member->key_len == len && memcmp(member->key, key, len) == 0) return member;
    }
    return NULL;
}

int json_is(const json *value, const char *wanted) {
    return value && value->type == JSON_TEXT && value->len == strlen(wanted) &&
           memcmp(value->text, wanted, value->len) == 0;
}

const char *json_text(const json *value) {
    return value && value->type == JSON_TEXT && strlen(value->text) == value->len ? value->text : NULL;
}

/* The digits behind a sign: 0 if there are only digits, and they say an integer of 64 bits. */
static int magnitude(const char *at, size_t len, uint64_t *found) {
    *found = 0;
    if (len == 0) return -1;
    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9') return -1;
        uint64_t digit = (uint64_t)(at[i] - '0');
        if (*found > (UINT64_MAX - digit) / 10) return -1;
        *found = *found * 10 + digit;
    }
    return 0;
}

int json_uint(const json *value, uint64_t *integer) {
    if (!value || (value->type != JSON_NUMBER && value->type != JSON_TEXT)) return -1;
    return magnitude(value->text, value->len, integer);
}

int json_int(const json *value, int64_t *integer) {
    uint64_t size;
    if (!value || (value->type != JSON_NUMBER && value->type != JSON_TEXT)) return -1;
    int negative = value->len > 0 && value->text[0] == '-';
    if (magnitude(value->text + negative, value->len - (size_t)negative, &size)) return -1;
    if (size > (uint64_t)INT64_MAX + (uint64_t)negative) return -1;
    *integer = !negative ? (int64_t)size : size == 0 ? 0 : -(int64_t)(size - 1) - 1;
    return 0;
}

uint8_t *json_hex(const json *value, size_t *len) {
    if (!value || value->type != JSON_TEXT) return NULL;
    size_t odd = value->len % 2;
    uint8_t *bytes = (uint8_t *)json_allocate(NULL, (value->len + odd) / 2);
    for (size_t i = 0; i < value->len; i++) {
        int digit = hex_digit(value->text[i]);
        if (digit < 0) {
            free(bytes);
            return NULL;
        }
        size_t at = i + odd;
        bytes[at / 2] = (uint8_t)(i == 0 || at % 2 == 0 ? digit : bytes[at / 2] << 4 | digit);
    }
    *len = (value->len + odd) / 2;
    return bytes;
}

/* Writing */

void json_put_raw(json_out *out, const char *raw, size_t len) {
    if (out->room - out->len < len) {
        out->room = out->room * 2 > out->len + len ? out->room * 2 : out->len + len;
        out->data = (char *)json_allocate(out->data, out->room);
    }
    if (len > 0) memcpy(out->data + out->len, raw, len);
    out->len += len;
}

void json_put(json_out *out, const char *raw) { json_put_raw(out, raw, strlen(raw)); }

void json_put_text(json_out *out, const char *bytes, size_t len) {
    json_put(out, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            snprintf(escaped, sizeof(escaped), "\\%c", c);
            json_put(out, escaped);
        } else if (c < 0x20) {
            snprintf(escaped, sizeof(escaped), "\\u%04x", c);
            json_put(out, escaped);
        } else {
            json_put_raw(out, &bytes[i], 1);
        }
    }
    json_put(out, "\"");
}

void json_put_hex(json_out *out, const uint8_t *bytes, size_t len) {
    static const char DIGITS[] = "0123456789abcdef";
    json_put(out, "\"");
    for (size_t i = 0; i < len; i++) {
        char pair[2] = {DIGITS[bytes[i] >> 4], DIGITS[bytes[i] & 15]};
        json_put_raw(out, pair, 2);
    }
    json_put(out, "\"");
}

void json_put_int(json_out *out, int64_t integer) {
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, integer);
    json_put(out, text);
}

void json_put_uint(json_out *out, uint64_t integer) {
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, integer);
    json_put(out, text);
}

void json_put_json(json_out *out, const json *value) {
    int object = value->type == JSON_OBJECT;
    switch (value->type) {
    case JSON_NULL: json_put(out, "null"); return;
    case JSON_FALSE: json_put(out, "false"); return;
    case JSON_TRUE: json_put(out, "true"); return;
    case JSON_NUMBER: json_put_raw(out, value->text, value->len); return;
    case JSON_TEXT: json_put_text(out, value->text, value->len); return;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    json_put(out, object ? "{" : "[");
    for (const json *member = value->first; member; member = member->next) {
        if (member != value->first) json_put(out, ",");
        if (object) {
            json_put_text(out, member->key, member->key_len);
            json_put(out, ":");
        }
        json_put_json(out, member);
    }
    json_put(out, object ? "}" : "]");
}
