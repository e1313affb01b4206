/*
 * The header as one of an earlier version would be: structs of the same beginning with fewer fields, and fewer
 * functions. It never changes: programs that were compiled with it run on every library of this ABI version.
 */
#ifndef PEERNET_H
#define PEERNET_H

#include <stddef.h>
#include <stdint.h>

#define PEERNET_ABI_VERSION 1
#define PEERNET_OK 0
#define PEERNET_ERR_UNSUPPORTED -5
#define PEERNET_EVENT_MESSAGE 1

typedef struct peernet_batch peernet_batch;
typedef int32_t peernet_status;
typedef uint64_t peernet_mesh;

typedef struct {
  size_t struct_size;
  uint32_t type;
  uint32_t kind;
  uint64_t code;
  int64_t time;
  uint64_t count;
  uint64_t token;
  uint32_t verified;
  uint32_t reserved;
  uint8_t id[32];
  const char *peer;
  const char *address;
  const char *reason;
  const char *text;
  const uint8_t *payload;
  size_t payload_len;
} peernet_event;

typedef struct {
  size_t struct_size;
  const char *listen;
  const char *advertise;
  const char *subnet;
  const char *encryption;
  const char *preset;
  const char *data_dir;
  const char *const *connect;
  size_t connect_count;
} peernet_options;

typedef struct {
  size_t struct_size;
  uint8_t id[32];
} peernet_report;

peernet_status peernet_mesh_open(const peernet_options *options, peernet_mesh *mesh);
peernet_status peernet_mesh_address(peernet_mesh mesh, char *text, size_t size);
peernet_status peernet_mesh_connect(peernet_mesh mesh, const char *address, int32_t timeout_ms, char *id, size_t size);
peernet_status peernet_mesh_broadcast(peernet_mesh mesh, const uint8_t *payload, size_t len, int32_t timeout_ms,
                                      peernet_report *report);
peernet_status peernet_mesh_poll(peernet_mesh mesh, size_t most, int32_t timeout_ms, peernet_batch **batch);
size_t peernet_batch_len(const peernet_batch *batch);
const peernet_event *peernet_batch_at(const peernet_batch *batch, size_t at);
void peernet_batch_free(peernet_batch *batch);
peernet_status peernet_mesh_close(peernet_mesh mesh);
uint32_t peernet_abi_version(void);
const char *peernet_error_message(void);

#define PEERNET_ADDRESS_SIZE 272
#define PEERNET_OPTIONS_INIT { sizeof(peernet_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0 }
#define PEERNET_REPORT_INIT { sizeof(peernet_report), { 0 } }

#endif
