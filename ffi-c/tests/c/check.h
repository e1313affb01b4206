// What the tests in C have in common: they stop at the first thing that is not as it should be, and say which.
#ifndef CHECK_H
#define CHECK_H

#include <peernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 60000

#define CHECK(what)                                                    \
  do {                                                                 \
    if (!(what)) fail(__FILE__, __LINE__, #what);                      \
  } while (0)

// That a call works, or fails with just this error, of which there are words then.
#define WORKS(call) CHECK(gives((call), PEERNET_OK))
#define FAILS(status, call) CHECK(gives((call), (status)) && peernet_error_message()[0] != 0)

static peernet_status last_status;

static inline void fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: %s\n  %s: %s\n", file, line, what, peernet_status_name(last_status),
          peernet_error_message());
  exit(1);
}

static inline int gives(peernet_status status, peernet_status should) {
  last_status = status;
  return status == should;
}

// The next event of this type, which is that of a batch to be freed.
static inline const peernet_event *next(peernet_mesh mesh, uint32_t type, peernet_batch **batch) {
  for (;;) {
    const peernet_event *event;
    WORKS(peernet_mesh_poll(mesh, 1, PATIENCE, batch));
    event = peernet_batch_at(*batch, 0);
    if (event->type == type) return event;
    peernet_batch_free(*batch);
  }
}

static inline void await(peernet_mesh mesh, uint32_t type) {
  peernet_batch *batch;
  next(mesh, type, &batch);
  peernet_batch_free(batch);
}

// A reader of what a writer has.
static inline peernet_reader values(const peernet_writer *writer) {
  peernet_reader reader;
  WORKS(peernet_reader_init(&reader, peernet_writer_data(writer), peernet_writer_len(writer)));
  return reader;
}

// Whether the next value is this text.
static inline int reads(peernet_reader *reader, const char *text) {
  const char *found;
  size_t len;
  return peernet_reader_text(reader, &found, &len) == PEERNET_OK && len == strlen(text) &&
         memcmp(found, text, len) == 0;
}

static inline int same(const void *bytes, size_t len, const char *text) {
  return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

#endif
