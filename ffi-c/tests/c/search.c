// Searches, with two nodes in one process.
#include "check.h"

#define TEXT(text) (text), strlen(text)

static void open_two(const peernet_options *options, peernet_mesh *a, peernet_mesh *b) {
  char address[PEERNET_ADDRESS_SIZE];
  WORKS(peernet_mesh_open(options, a));
  WORKS(peernet_mesh_open(options, b));
  WORKS(peernet_mesh_address(*a, address, sizeof address));
  WORKS(peernet_mesh_connect(*b, address, PATIENCE, NULL, 0));
  await(*a, PEERNET_EVENT_CONNECTED);
}

static void asks_and_finds(void) {
  peernet_mesh a, b;
  peernet_search search, other;
  peernet_batch *batch;
  const peernet_event *event;
  const peernet_row *row;
  peernet_query query = PEERNET_QUERY_INIT;
  char id_a[PEERNET_ID_SIZE], id_b[PEERNET_ID_SIZE];
  uint64_t token;
  int count;
  open_two(NULL, &a, &b);
  WORKS(peernet_mesh_id(a, id_a, sizeof id_a));
  WORKS(peernet_mesh_id(b, id_b, sizeof id_b));
  WORKS(peernet_mesh_want(a, PEERNET_WANT_SEARCHES));

  WORKS(peernet_mesh_search(b, TEXT("colour"), TEXT("of the sky"), &search));
  event = next(a, PEERNET_EVENT_SEARCH, &batch);
  CHECK(strcmp(event->peer, id_b) == 0 && event->verified == 1);
  CHECK(same(event->key, event->key_len, "colour") && same(event->payload, event->payload_len, "of the sky"));
  CHECK(event->old_len == 16 && event->count == 0 && event->kind == 15);
  token = event->token;
  peernet_batch_free(batch);
  FAILS(PEERNET_ERR_TIMED_OUT, peernet_search_next(search, 0, &row));
  FAILS(PEERNET_ERR_TIMED_OUT, peernet_search_next(search, 1, &row));
  CHECK(row == NULL);

  // The event's batch is gone, and its token is good.
  WORKS(peernet_mesh_found(a, token, TEXT("blue")));
  WORKS(peernet_search_next(search, PATIENCE, &row));
  CHECK(row->struct_size == sizeof(peernet_row) && same(row->data, row->data_len, "blue"));
  CHECK(same(row->kind, row->kind_len, "colour") && row->id_len == 16);
  CHECK(strcmp(row->peer, id_a) == 0 && row->verified == 1 && row->hops == 0 && row->limit == 15);
  peernet_row_free(row);
  WORKS(peernet_mesh_found_as(a, token, TEXT("7"), TEXT("guess"), TEXT("grey")));
  WORKS(peernet_search_next(search, -1, &row));
  CHECK(same(row->id, row->id_len, "7") && same(row->kind, row->kind_len, "guess"));
  CHECK(same(row->data, row->data_len, "grey"));
  peernet_row_free(row);
  for (count = 2; count < 8; count++) WORKS(peernet_mesh_found(a, token, TEXT("more")));
  FAILS(PEERNET_ERR_TOO_MANY, peernet_mesh_found(a, token, TEXT("more")));
  FAILS(PEERNET_ERR_SEARCH_OVER, peernet_mesh_found(a, token + 1000, TEXT("blue")));
  WORKS(peernet_search_end(search));
  FAILS(PEERNET_ERR_CLOSED, peernet_search_end(search));
  FAILS(PEERNET_ERR_CLOSED, peernet_search_next(search, -1, &row));
  CHECK(row == NULL);

  // Everything that can be said about a question.
  query.kind = "shape";
  query.kind_len = 5;
  query.data = "of the moon";
  query.data_len = 11;
  query.id = "q1";
  query.id_len = 2;
  query.limit = 3;
  query.hops = 1;
  WORKS(peernet_mesh_announce(b, &query, &search));
  event = next(a, PEERNET_EVENT_SEARCH, &batch);
  CHECK(same(event->old, event->old_len, "q1") && event->count == 1 && event->kind == 3);
  peernet_batch_free(batch);
  query.limit = 16;
  FAILS(PEERNET_ERR_CONFIG, peernet_mesh_announce(b, &query, &other));
  query.limit = 1000;
  FAILS(PEERNET_ERR_CONFIG, peernet_mesh_announce(b, &query, &other));
  CHECK(other == 0);
  query.limit = 0;
  query.id_len = 65;
  query.id = "0123456789012345678901234567890123456789012345678901234567890123456789";
  FAILS(PEERNET_ERR_CONFIG, peernet_mesh_announce(b, &query, &other));
  query.struct_size = 0;
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_announce(b, &query, &other));

  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_announce(b, NULL, &other));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_announce(b, &query, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_search(b, TEXT("x"), TEXT("y"), NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_search(b, NULL, 1, TEXT("y"), &other));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_search(b, TEXT("x"), NULL, 1, &other));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_search_next(search, 0, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_found(a, token, NULL, 1));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_found_as(a, token, NULL, 1, TEXT("x"), TEXT("y")));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_found_as(a, token, TEXT("x"), NULL, 1, TEXT("y")));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_found_as(a, token, TEXT("x"), TEXT("y"), NULL, 1));
  peernet_row_free(NULL);

  // Who goes ends what it has asked; the handle stays until it is closed.
  WORKS(peernet_mesh_close(b));
  FAILS(PEERNET_ERR_END, peernet_search_next(search, -1, &row));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_close(search));
  WORKS(peernet_search_end(search));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_search(b, TEXT("x"), TEXT("y"), &other));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_announce(b, &(peernet_query)PEERNET_QUERY_INIT, &other));
  WORKS(peernet_mesh_close(a));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_found(a, token, TEXT("blue")));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_found_as(a, token, TEXT("x"), TEXT("y"), TEXT("z")));
}

static void where_there_are_none(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_mesh mesh;
  peernet_search search;
  options.encryption = "plaintext";
  WORKS(peernet_mesh_open(&options, &mesh));
  FAILS(PEERNET_ERR_NEEDS_TLS, peernet_mesh_search(mesh, TEXT("x"), TEXT("y"), &search));
  CHECK(search == 0);
  WORKS(peernet_mesh_close(mesh));
}

int main(void) {
  asks_and_finds();
  where_there_are_none();
  return 0;
}
