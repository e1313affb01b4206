// Everything that tables have, with two nodes in one process. argv[1]: a folder.
#include "check.h"

#define KEY(text) (text), strlen(text)
#define VALUE(writer) peernet_writer_data(writer), peernet_writer_len(writer)

static char id_a[PEERNET_ID_SIZE], id_b[PEERNET_ID_SIZE];

static void open_two(const peernet_options *options, peernet_table *a, peernet_table *b) {
  char address[PEERNET_ADDRESS_SIZE], id[PEERNET_ID_SIZE];
  WORKS(peernet_table_open(options, a));
  WORKS(peernet_table_open(options, b));
  WORKS(peernet_mesh_id(*a, id_a, sizeof id_a));
  WORKS(peernet_mesh_id(*b, id_b, sizeof id_b));
  WORKS(peernet_mesh_address(*a, address, sizeof address));
  WORKS(peernet_mesh_connect(*b, address, PATIENCE, id, sizeof id));
  CHECK(strcmp(id, id_a) == 0);
  await(*a, PEERNET_EVENT_CONNECTED);
  WORKS(peernet_mesh_want(*b, PEERNET_WANT_CHANGES));
}

static void reads_and_changes(void) {
  peernet_table a, b;
  peernet_batch *batch;
  const peernet_event *event;
  peernet_report report = PEERNET_REPORT_INIT;
  peernet_writer *value = peernet_writer_new(), *got = peernet_writer_new();
  peernet_reader reader, entry;
  peernet_items *items;
  char owner[PEERNET_ID_SIZE];
  int32_t contains = 7;
  int64_t time = 0, number;
  uint64_t left = 7;
  size_t len = 7, sum = 0;
  open_two(NULL, &a, &b);

  // A value is seen everywhere, with who set it and when.
  WORKS(peernet_writer_text(value, "green"));
  WORKS(peernet_table_set(a, KEY("colour"), VALUE(value), PATIENCE, &report));
  CHECK(report.links == 1);
  event = next(b, PEERNET_EVENT_UPDATE, &batch);
  CHECK(same(event->key, event->key_len, "colour") && event->old == NULL && event->time > 0);
  CHECK(strcmp(event->peer, id_a) == 0);
  WORKS(peernet_reader_init(&reader, event->payload, event->payload_len));
  CHECK(reads(&reader, "green"));
  WORKS(peernet_table_time(b, KEY("colour"), &time));
  CHECK(time == event->time);
  peernet_batch_free(batch);
  WORKS(peernet_table_get(b, KEY("colour"), got));
  reader = values(got);
  CHECK(reads(&reader, "green") && peernet_reader_type(&reader) == PEERNET_TYPE_END);
  WORKS(peernet_table_contains(b, KEY("colour"), &contains));
  CHECK(contains == 1);
  WORKS(peernet_table_contains(b, KEY("shape"), &contains));
  CHECK(contains == 0);
  WORKS(peernet_table_owner(b, KEY("colour"), owner, sizeof owner));
  CHECK(strcmp(owner, id_a) == 0);
  WORKS(peernet_table_lease(b, KEY("colour"), &left));
  CHECK(left > 0 && left <= 3600000);
  WORKS(peernet_table_len(b, &len));
  CHECK(len == 1);

  // What has no value is told as such.
  FAILS(PEERNET_ERR_END, peernet_table_get(b, KEY("shape"), got));
  FAILS(PEERNET_ERR_END, peernet_table_owner(b, KEY("shape"), owner, sizeof owner));
  FAILS(PEERNET_ERR_END, peernet_table_time(b, KEY("shape"), &time));
  FAILS(PEERNET_ERR_END, peernet_table_lease(b, KEY("shape"), &left));
  FAILS(PEERNET_ERR_END, peernet_table_delete(b, KEY("shape"), 0, NULL));
  FAILS(PEERNET_ERR_END, peernet_table_pop(b, KEY("shape"), 0, got));
  // It is a's for an hour.
  FAILS(PEERNET_ERR_LEASE, peernet_table_set(b, KEY("colour"), VALUE(value), PATIENCE, NULL));
  FAILS(PEERNET_ERR_LEASE, peernet_table_delete(b, KEY("colour"), PATIENCE, NULL));
  FAILS(PEERNET_ERR_LEASE, peernet_table_pop(b, KEY("colour"), PATIENCE, got));

  // Without waiting, and often. Keys may be any bytes.
  for (number = 0; number < 300; number++) {
    WORKS(peernet_writer_clear(value));
    WORKS(peernet_writer_int(value, number));
    WORKS(peernet_table_set(a, "a\0b", 3, VALUE(value), number % 2 ? 0 : -1, NULL));
  }
  WORKS(peernet_writer_clear(got));
  WORKS(peernet_table_get(a, "a\0b", 3, got));
  reader = values(got);
  CHECK(peernet_reader_int(&reader, &number) == PEERNET_OK && number == 299);

  // Many at once.
  WORKS(peernet_writer_clear(value));
  WORKS(peernet_writer_map(value, 2));
  WORKS(peernet_writer_text(value, "x"));
  WORKS(peernet_writer_int(value, 1));
  WORKS(peernet_writer_bytes(value, (const uint8_t *)"y", 1));
  WORKS(peernet_writer_int(value, 2));
  WORKS(peernet_table_update(a, VALUE(value), PATIENCE));
  WORKS(peernet_table_items(a, &items));
  CHECK(peernet_items_len(items) == 4 && peernet_items_at(items, 4) == NULL);
  WORKS(peernet_table_delete(a, KEY("x"), PATIENCE, &report));
  for (len = 0; len < peernet_items_len(items); len++) {
    const peernet_item *item = peernet_items_at(items, len);
    CHECK(item->struct_size == sizeof(peernet_item));
    if (item->key_len != 1) continue;
    WORKS(peernet_reader_init(&reader, item->value, item->value_len));
    WORKS(peernet_reader_int(&reader, &number));
    CHECK(item->key[0] == (number == 1 ? 'x' : 'y'));
    sum += (size_t)number;
  }
  CHECK(sum == 3);
  peernet_items_free(items);
  event = next(b, PEERNET_EVENT_DELETE, &batch);
  CHECK(same(event->key, event->key_len, "x") && event->payload == NULL && event->old_len == 1);
  peernet_batch_free(batch);

  // Merged one level deep.
  WORKS(peernet_writer_clear(value));
  WORKS(peernet_writer_map(value, 1));
  WORKS(peernet_writer_text(value, "apples"));
  WORKS(peernet_writer_int(value, 2));
  WORKS(peernet_table_delta(a, KEY("count"), VALUE(value), PATIENCE, NULL));
  WORKS(peernet_writer_clear(value));
  WORKS(peernet_writer_map(value, 1));
  WORKS(peernet_writer_text(value, "pears"));
  WORKS(peernet_writer_int(value, 3));
  WORKS(peernet_table_delta(a, KEY("count"), VALUE(value), 0, &report));
  FAILS(PEERNET_ERR_NOT_A_MAP, peernet_table_delta(a, KEY("colour"), VALUE(value), PATIENCE, NULL));
  WORKS(peernet_writer_clear(got));
  WORKS(peernet_table_pop(a, KEY("count"), PATIENCE, got));
  reader = values(got);
  WORKS(peernet_reader_find(&reader, "apples", &entry));
  CHECK(peernet_reader_int(&entry, &number) == PEERNET_OK && number == 2);
  WORKS(peernet_reader_find(&reader, "pears", &entry));
  CHECK(peernet_reader_int(&entry, &number) == PEERNET_OK && number == 3);
  FAILS(PEERNET_ERR_END, peernet_table_pop(a, KEY("count"), PATIENCE, got));

  // Until nothing is left that this node may change.
  for (len = 0; peernet_table_popitem(a, PATIENCE, &items) == PEERNET_OK; len++) {
    CHECK(peernet_items_len(items) == 1 && peernet_items_at(items, 0)->value_len > 0);
    peernet_items_free(items);
  }
  CHECK(len == 3 && items == NULL);
  FAILS(PEERNET_ERR_END, peernet_table_popitem(a, 0, &items));
  WORKS(peernet_table_len(a, &len));
  CHECK(len == 0);

  WORKS(peernet_mesh_close(a));
  WORKS(peernet_mesh_close(b));
  peernet_writer_free(value);
  peernet_writer_free(got);
}

// A table is a mesh too.
static void is_a_mesh(void) {
  peernet_table a, b;
  peernet_batch *batch;
  const peernet_event *event;
  peernet_reader reader;
  peernet_writer *payload = peernet_writer_new();
  open_two(NULL, &a, &b);
  WORKS(peernet_writer_text(payload, "hello"));
  WORKS(peernet_mesh_broadcast(a, VALUE(payload), PATIENCE, NULL));
  event = next(b, PEERNET_EVENT_MESSAGE, &batch);
  WORKS(peernet_reader_init(&reader, event->payload, event->payload_len));
  CHECK(reads(&reader, "hello"));
  WORKS(peernet_mesh_reply(b, event, VALUE(payload), PATIENCE, NULL));
  peernet_batch_free(batch);
  await(a, PEERNET_EVENT_MESSAGE);
  WORKS(peernet_mesh_flush(a, PATIENCE));
  WORKS(peernet_mesh_close(a));
  WORKS(peernet_mesh_close(b));
  peernet_writer_free(payload);
}

// Without leases the later change wins.
static void without_leases(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_table a, b;
  peernet_writer *value = peernet_writer_new();
  uint64_t left = 7;
  options.leases = PEERNET_NO;
  open_two(&options, &a, &b);
  WORKS(peernet_writer_text(value, "green"));
  WORKS(peernet_table_set(a, KEY("colour"), VALUE(value), PATIENCE, NULL));
  await(b, PEERNET_EVENT_UPDATE);
  WORKS(peernet_table_lease(b, KEY("colour"), &left));
  CHECK(left == 0);
  WORKS(peernet_table_delete(b, KEY("colour"), PATIENCE, NULL));
  WORKS(peernet_mesh_close(a));
  WORKS(peernet_mesh_close(b));
  options.leases = 2;
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_open(&options, &a));
  CHECK(a == 0);
  peernet_writer_free(value);
}

static void outlives_its_node(const char *folder) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_table table;
  peernet_reader reader;
  peernet_writer *value = peernet_writer_new();
  options.data_dir = folder;
  options.durable = PEERNET_YES;
  WORKS(peernet_table_open(&options, &table));
  WORKS(peernet_writer_text(value, "green"));
  WORKS(peernet_table_set(table, KEY("colour"), VALUE(value), PATIENCE, NULL));
  WORKS(peernet_mesh_close(table));
  WORKS(peernet_table_open(&options, &table));
  WORKS(peernet_writer_clear(value));
  WORKS(peernet_table_get(table, KEY("colour"), value));
  reader = values(value);
  CHECK(reads(&reader, "green"));
  WORKS(peernet_mesh_close(table));
  peernet_writer_free(value);
}

static void what_is_refused(void) {
  static uint8_t large[200000];
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_table table = 7, mesh;
  peernet_items *items;
  peernet_writer *writer = peernet_writer_new();
  const uint8_t five[] = {5}, two[] = {5, 5}, none[] = {0xc1}, nil[] = {0xc0}, map[] = {0x81, 5, 5};
  int32_t contains;
  int64_t time;
  uint64_t left;
  size_t len;
  char owner[PEERNET_ID_SIZE];

  options.max_frame = 100000;
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_open(NULL, NULL));
  options.listen = "nowhere";
  FAILS(PEERNET_ERR_ADDRESS, peernet_table_open(&options, &table));
  CHECK(table == 0);
  options.listen = NULL;
  WORKS(peernet_table_open(&options, &table));
  WORKS(peernet_table_set(table, KEY("k"), five, 1, PATIENCE, NULL));

  // Null where something must be.
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_get(table, NULL, 1, writer));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_get(table, KEY("k"), NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_contains(table, KEY("k"), NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_contains(table, NULL, 1, &contains));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_owner(table, KEY("k"), NULL, 200));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_time(table, KEY("k"), NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_lease(table, KEY("k"), NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_len(table, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_items(table, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_set(table, NULL, 1, five, 1, 0, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_set(table, KEY("k"), NULL, 1, 0, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_update(table, NULL, 1, 0));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_delta(table, KEY("k"), NULL, 1, 0, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_delete(table, NULL, 1, 0, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_pop(table, KEY("k"), 0, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_popitem(table, 0, NULL));
  CHECK(peernet_items_len(NULL) == 0 && peernet_items_at(NULL, 0) == NULL);
  peernet_items_free(NULL);
  // Places that are too small.
  FAILS(PEERNET_ERR_TOO_LARGE, peernet_table_owner(table, KEY("k"), owner, 5));
  CHECK(owner[0] == 0);

  // What is no value, or none of this table's.
  FAILS(PEERNET_ERR_VALUE, peernet_table_set(table, KEY("k"), none, 1, 0, NULL));
  FAILS(PEERNET_ERR_VALUE, peernet_table_set(table, KEY("k"), two, 2, 0, NULL));
  FAILS(PEERNET_ERR_VALUE, peernet_table_set(table, KEY("k"), five, 0, 0, NULL));
  FAILS(PEERNET_ERR_NIL, peernet_table_set(table, KEY("k"), nil, 1, 0, NULL));
  FAILS(PEERNET_ERR_KEY, peernet_table_set(table, large, sizeof large / 2, five, 1, 0, NULL));
  WORKS(peernet_writer_bytes(writer, large, sizeof large));
  FAILS(PEERNET_ERR_TOO_LARGE, peernet_table_set(table, KEY("k"), VALUE(writer), 0, NULL));
  FAILS(PEERNET_ERR_TYPE, peernet_table_update(table, five, 1, 0));
  FAILS(PEERNET_ERR_TYPE, peernet_table_update(table, map, 3, 0));
  FAILS(PEERNET_ERR_NOT_A_MAP, peernet_table_delta(table, KEY("k"), five, 1, 0, NULL));
  // None of it has changed anything.
  WORKS(peernet_writer_clear(writer));
  WORKS(peernet_table_get(table, KEY("k"), writer));
  CHECK(same(peernet_writer_data(writer), peernet_writer_len(writer), "\5"));

  // A mesh without a table.
  WORKS(peernet_mesh_open(NULL, &mesh));
  FAILS(PEERNET_ERR_NO_TABLE, peernet_table_get(mesh, KEY("k"), writer));
  FAILS(PEERNET_ERR_NO_TABLE, peernet_table_len(mesh, &len));
  FAILS(PEERNET_ERR_NO_TABLE, peernet_table_set(mesh, KEY("k"), five, 1, 0, NULL));
  FAILS(PEERNET_ERR_NO_TABLE, peernet_mesh_want(mesh, PEERNET_WANT_CHANGES));
  WORKS(peernet_mesh_close(mesh));

  // What is closed.
  WORKS(peernet_mesh_close(table));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_get(table, KEY("k"), writer));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_contains(table, KEY("k"), &contains));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_owner(table, KEY("k"), owner, sizeof owner));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_time(table, KEY("k"), &time));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_lease(table, KEY("k"), &left));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_len(table, &len));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_items(table, &items));
  CHECK(items == NULL);
  FAILS(PEERNET_ERR_CLOSED, peernet_table_set(table, KEY("k"), five, 1, -1, NULL));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_update(table, (const uint8_t *)"\x80", 1, -1));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_delta(table, KEY("k"), (const uint8_t *)"\x80", 1, -1, NULL));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_delete(table, KEY("k"), -1, NULL));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_pop(table, KEY("k"), -1, writer));
  FAILS(PEERNET_ERR_CLOSED, peernet_table_popitem(table, -1, &items));
  peernet_writer_free(writer);
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  reads_and_changes();
  is_a_mesh();
  without_leases();
  outlives_its_node(argv[1]);
  what_is_refused();
  return 0;
}
