/* JSON as RFC 8259 has it and nothing beside: a text into a tree, and back into text. */

#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Deeper texts are refused. */
#define JSON_MAX_LEVELS 512

typedef enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT } json_type;

/* One value. */
typedef struct json {
    json_type type;
    const char *text;   /* of a text, which may hold NULs and ends with one; of a number, as it is written */
    size_t len;         /* bytes of text, or members of an array or object */
    const char *key;    /* of an object's member */
    size_t key_len;
    struct json *first; /* member, of an array or object */
    struct json *next;  /* member of what it is in */
} json;

/* Whatever was read from one text. */
typedef struct json_document json_document;

/* Reads `len` bytes, which are changed, must live as long as what is read, and have one byte more behind them.
   Null if they are anything else than one JSON text in UTF-8. */
json_document *json_read(char *text, size_t len);
const json *json_root(const json_document *document);
void json_free(json_document *document);

/* The member with this key; null if there is none, or `object` is no object or null. */
const json *json_get(const json *object, const char *key);
/* Whether it is this text. */
int json_is(const json *value, const char *text);
/* The text if it is one, and without NULs; else null. */
const char *json_text(const json *value);
/* The integer that decimal digits say, of a number or of a text: 0 if they do. */
int json_int(const json *value, int64_t *integer);
int json_uint(const json *value, uint64_t *integer);
/* The bytes that a text of hexadecimal digits says, to be freed; of an odd number of digits the first is a byte
   of its own. Null if it is no such text. */
uint8_t *json_hex(const json *value, size_t *len);

/* Text that is being written. Begin with zeros; `data` is to be freed. */
typedef struct {
    char *data;
    size_t len;
    size_t room;
} json_out;

/* Appends it as it is. */
void json_put(json_out *out, const char *raw);
void json_put_raw(json_out *out, const char *raw, size_t len);
/* Appends a text, in quotes. */
void json_put_text(json_out *out, const char *text, size_t len);
/* Appends bytes as hexadecimal digits, in quotes. */
void json_put_hex(json_out *out, const uint8_t *bytes, size_t len);
void json_put_int(json_out *out, int64_t integer);
void json_put_uint(json_out *out, uint64_t integer);
/* Appends what was read, as it means the same. */
void json_put_json(json_out *out, const json *value);

/* Memory, or the end of the program. */
void *json_allocate(void *memory, size_t size);

#ifdef __cplusplus
}
#endif

#endif
