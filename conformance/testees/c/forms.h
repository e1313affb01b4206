/* Values as the `peernet` command writes them in JSON: nil, booleans, numbers, text, arrays and maps are
   themselves; bytes are {"$bin":hex}, large integers {"$int":digits}, and so on. */

#ifndef FORMS_H
#define FORMS_H

#include <peernet.h>

#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Appends the value that JSON names: 0 if it names one that has a form on the wire. */
int forms_read(const json *value, peernet_writer *out);
/* The same for each of an array, one after the other. */
int forms_read_all(const json *array, peernet_writer *out);

/* Writes the next value: 0 if there is one. */
int forms_write(peernet_reader *from, json_out *out);
/* Writes `len` bytes of packed values as an array. */
int forms_write_all(const uint8_t *packed, size_t len, json_out *out);

#ifdef __cplusplus
}
#endif

#endif
