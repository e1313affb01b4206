#include "forms.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Integers beyond this are written as text: JavaScript and others read numbers as float64. */
#define MAX_PLAIN ((int64_t)1 << 53)

/* Reading */

static int read_integer(const json *digits, peernet_writer *out) {
    int64_t integer;
    uint64_t large;
    if (json_int(digits, &integer) == 0) return peernet_writer_int(out, integer);
    if (json_uint(digits, &large) == 0) return peernet_writer_uint(out, large);
    return -1;
}

static int read_number(const json *number, peernet_writer *out) {
    char digits[400];
    if (!memchr(number->text, '.', number->len) && !memchr(number->text, 'e', number->len) &&
        !memchr(number->text, 'E', number->len)) {
        return read_integer(number, out);
    }
    if (number->len >= sizeof(digits)) return -1;
    memcpy(digits, number->text, number->len);
    digits[number->len] = '\0';
    double value = strtod(digits, NULL);
    return isfinite(value) ? peernet_writer_float(out, value) : -1;
}

static int read_bits(const json *hex, peernet_writer *out) {
    size_t len;
    uint64_t bits = 0;
    double number;
    uint8_t *bytes = json_hex(hex, &len);
    for (size_t i = 0; bytes && i < len; i++) bits = bits << 8 | bytes[i];
    int read = bytes && hex->len == 16 ? 0 : -1;
    free(bytes);
    memcpy(&number, &bits, sizeof(number));
    return read == 0 ? peernet_writer_float(out, number) : -1;
}

static int read_bytes(const json *hex, peernet_writer *out) {
    size_t len;
    uint8_t *bytes = json_hex(hex, &len);
    int read = bytes && hex->len % 2 == 0 ? peernet_writer_bytes(out, bytes, len) : -1;
    free(bytes);
    return read;
}

static int read_pairs(const json *pairs, peernet_writer *out) {
    if (pairs->type != JSON_ARRAY) return -1;
    int read = peernet_writer_map(out, (uint32_t)pairs->len);
    for (const json *pair = pairs->first; pair && read == 0; pair = pair->next) {
        read = pair->type == JSON_ARRAY && pair->len == 2 ? forms_read_all(pair, out) : -1;
    }
    return read;
}

static int read_object(const json *object, peernet_writer *out) {
    const json *only = object->first;
    if (object->len == 1 && only->key_len > 0 && only->key[0] == '$') {
        if (json_get(object, "$bin")) return read_bytes(only, out);
        if (json_get(object, "$int")) return only->type == JSON_TEXT ? read_integer(only, out) : -1;
        if (json_get(object, "$float64")) return read_bits(only, out);
        if (json_get(object, "$map")) return read_pairs(only, out);
        return -1;
    }
    int read = peernet_writer_map(out, (uint32_t)object->len);
    for (const json *member = object->first; member && read == 0; member = member->next) {
        read = peernet_writer_text_len(out, member->key, member->key_len);
        if (read == 0) read = forms_read(member, out);
    }
    return read;
}

int forms_read(const json *value, peernet_writer *out) {
    switch (value->type) {
    case JSON_NULL: return peernet_writer_nil(out);
    case JSON_FALSE: return peernet_writer_bool(out, 0);
    case JSON_TRUE: return peernet_writer_bool(out, 1);
    case JSON_NUMBER: return read_number(value, out);
    case JSON_TEXT: return peernet_writer_text_len(out, value->text, value->len);
    case JSON_OBJECT: return read_object(value, out);
    case JSON_ARRAY: break;
    }
    int read = peernet_writer_array(out, (uint32_t)value->len);
    return read == 0 ? forms_read_all(value, out) : read;
}

int forms_read_all(const json *array, peernet_writer *out) {
    int read = array && array->type == JSON_ARRAY ? 0 : -1;
    for (const json *value = read == 0 ? array->first : NULL; value && read == 0; value = value->next) {
        read = forms_read(value, out);
    }
    return read;
}

/* Writing */

static void write_float(double number, json_out *out) {
    char digits[32];
    if (!isfinite(number)) {
        uint64_t bits;
        memcpy(&bits, &number, sizeof(bits));
        snprintf(digits, sizeof(digits), "%08lx%08lx", (unsigned long)(bits >> 32), (unsigned long)(bits & 0xFFFFFFFF));
        json_put(out, "{\"$float64\":\"");
        json_put(out, digits);
        json_put(out, "\"}");
        return;
    }
    /* The fewest digits that read as the same. */
    for (int count = 1; count <= 17; count++) {
        snprintf(digits, sizeof(digits), "%.*g", count, number);
        if (strtod(digits, NULL) == number) break;
    }
    json_put(out, digits);
    if (!strpbrk(digits, ".e")) json_put(out, ".0");
}

static int write_integer(peernet_reader *from, json_out *out) {
    int64_t integer;
    uint64_t large;
    int small = peernet_reader_int(from, &integer) == 0;
    int plain = small && integer <= MAX_PLAIN && integer >= -MAX_PLAIN;
    if (!small && peernet_reader_uint(from, &large)) return -1;
    if (!plain) json_put(out, "{\"$int\":\"");
    if (small) json_put_int(out, integer);
    else json_put_uint(out, large);
    if (!plain) json_put(out, "\"}");
    return 0;
}

/* Whether JSON can show the pairs that come next as an object: their keys are text, and each another. */
static int is_object(peernet_reader pairs, size_t count) {
    const char *key;
    size_t len;
    int forms = count == 1;
    for (size_t i = 0; i < count; i++) {
        if (peernet_reader_type(&pairs) != PEERNET_TYPE_TEXT || peernet_reader_text(&pairs, &key, &len)) return 0;
        if (peernet_reader_skip(&pairs)) return 0;
        if (forms && len > 0 && key[0] == '$') return 0;
        peernet_reader rest = pairs;
        for (size_t j = i + 1; j < count; j++) {
            const char *other;
            size_t other_len;
            if (peernet_reader_type(&rest) != PEERNET_TYPE_TEXT) return 0;
            if (peernet_reader_text(&rest, &other, &other_len) || peernet_reader_skip(&rest)) return 0;
            if (other_len == len && memcmp(other, key, len) == 0) return 0;
        }
    }
    return 1;
}

static int write_map(peernet_reader *from, json_out *out) {
    size_t count;
    if (peernet_reader_map(from, &count)) return -1;
    int object = is_object(*from, count);
    json_put(out, object ? "{" : "{\"$map\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) json_put(out, ",");
        if (!object) json_put(out, "[");
        if (forms_write(from, out)) return -1;
        json_put(out, object ? ":" : ",");
        if (forms_write(from, out)) return -1;
        if (!object) json_put(out, "]");
    }
    json_put(out, object ? "}" : "]}");
    return 0;
}

int forms_write(peernet_reader *from, json_out *out) {
    const char *text;
    const uint8_t *bytes;
    size_t len;
    int32_t truth;
    double number;
    switch (peernet_reader_type(from)) {
    case PEERNET_TYPE_NIL: json_put(out, "null"); return peernet_reader_nil(from);
    case PEERNET_TYPE_BOOL:
        if (peernet_reader_bool(from, &truth)) return -1;
        json_put(out, truth ? "true" : "false");
        return 0;
    case PEERNET_TYPE_INT: return write_integer(from, out);
    case PEERNET_TYPE_FLOAT:
        if (peernet_reader_float(from, &number)) return -1;
        write_float(number, out);
        return 0;
    case PEERNET_TYPE_TEXT:
        if (peernet_reader_text(from, &text, &len)) return -1;
        json_put_text(out, text, len);
        return 0;
    case PEERNET_TYPE_BYTES:
        if (peernet_reader_bytes(from, &bytes, &len)) return -1;
        json_put(out, "{\"$bin\":");
        json_put_hex(out, bytes, len);
        json_put(out, "}");
        return 0;
    case PEERNET_TYPE_MAP: return write_map(from, out);
    case PEERNET_TYPE_ARRAY: break;
    default: return -1;
    }
    if (peernet_reader_array(from, &len)) return -1;
    json_put(out, "[");
    for (size_t i = 0; i < len; i++) {
        if (i > 0) json_put(out, ",");
        if (forms_write(from, out)) return -1;
    }
    json_put(out, "]");
    return 0;
}

int forms_write_all(const uint8_t *packed, size_t len, json_out *out) {
    peernet_reader reader;
    if (peernet_reader_init(&reader, packed, len)) return -1;
    json_put(out, "[");
    for (int first = 1; peernet_reader_type(&reader) != PEERNET_TYPE_END; first = 0) {
        if (!first) json_put(out, ",");
        if (forms_write(&reader, out)) return -1;
    }
    json_put(out, "]");
    return 0;
}
