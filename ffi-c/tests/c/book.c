// Peer books, while their nodes run and while they do not. argv[1]: a folder.
#include "check.h"

static char path[1024];

static const char *folder(const char *root, const char *name) {
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

// The entry of an address in an array of what is known. Whether there is one.
static int is_known(const peernet_writer *known, const char *address, peernet_reader *entry) {
  peernet_reader reader = values(known), field;
  size_t count;
  WORKS(peernet_reader_array(&reader, &count));
  for (; count > 0; count--) {
    *entry = reader;
    WORKS(peernet_reader_find(&reader, "address", &field));
    if (reads(&field, address)) return 1;
    WORKS(peernet_reader_skip(&reader));
  }
  return 0;
}

static int64_t integer(const peernet_reader *entry, const char *name) {
  peernet_reader field;
  int64_t number;
  WORKS(peernet_reader_find(entry, name, &field));
  WORKS(peernet_reader_int(&field, &number));
  return number;
}

static int is_saved(const peernet_reader *entry) {
  peernet_reader field;
  int32_t saved;
  WORKS(peernet_reader_find(entry, "saved", &field));
  WORKS(peernet_reader_bool(&field, &saved));
  return saved;
}

static void while_it_runs(const char *root, char *address, size_t size) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_mesh a, b;
  peernet_book book;
  peernet_writer *out = peernet_writer_new();
  peernet_reader entry, field;
  char id[PEERNET_ID_SIZE], connection[PEERNET_ID_SIZE + PEERNET_ADDRESS_SIZE];
  double latency;
  size_t count;
  options.data_dir = folder(root, "mesh");
  WORKS(peernet_mesh_open(NULL, &a));
  WORKS(peernet_mesh_open(&options, &b));
  WORKS(peernet_mesh_address(a, address, size));
  WORKS(peernet_mesh_id(a, id, sizeof id));
  FAILS(PEERNET_ERR_END, peernet_mesh_peer_stats(b, address, out));

  // Saved, it is dialled by itself.
  WORKS(peernet_mesh_save(b, address));
  await(b, PEERNET_EVENT_CONNECTED);
  WORKS(peernet_mesh_known(b, out));
  CHECK(is_known(out, address, &entry));
  CHECK(is_saved(&entry) && integer(&entry, "connections_ok") == 1 && integer(&entry, "connections_failed") == 0);
  CHECK(integer(&entry, "last_seen") > 0 && integer(&entry, "addresses_received") >= 0);
  CHECK(integer(&entry, "addresses_sent") >= 0);
  WORKS(peernet_reader_find(&entry, "id", &field));
  CHECK(reads(&field, id));
  WORKS(peernet_reader_find(&entry, "latency_ms", &field));
  WORKS(peernet_reader_float(&field, &latency));
  CHECK(latency >= 0);
  WORKS(peernet_reader_find(&entry, "named_by", &field));
  CHECK(peernet_reader_type(&field) == PEERNET_TYPE_NIL);
  WORKS(peernet_writer_clear(out));
  WORKS(peernet_mesh_peer_stats(b, address, out));
  entry = values(out);
  CHECK(is_saved(&entry));
  WORKS(peernet_writer_clear(out));
  WORKS(peernet_mesh_connections(b, out));
  snprintf(connection, sizeof connection, "%s@%s", id, address);
  entry = values(out);
  CHECK(peernet_reader_array(&entry, &count) == PEERNET_OK && count == 1 && reads(&entry, connection));

  // Meanwhile its folder is the node's alone.
  FAILS(PEERNET_ERR_DATA, peernet_mesh_book(&options, &book));
  CHECK(book == 0);

  FAILS(PEERNET_ERR_ADDRESS, peernet_mesh_save(b, "nowhere"));
  FAILS(PEERNET_ERR_ADDRESS, peernet_mesh_remove(b, "nowhere"));
  FAILS(PEERNET_ERR_ADDRESS, peernet_mesh_peer_stats(b, "nowhere", out));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_save(b, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_remove(b, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_save(b, "\xff:1"));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_known(b, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_peer_stats(b, NULL, out));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_peer_stats(b, address, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_connections(b, NULL));

  WORKS(peernet_mesh_save(b, "127.0.0.1:2"));
  WORKS(peernet_mesh_remove(b, "127.0.0.1:2"));
  FAILS(PEERNET_ERR_END, peernet_mesh_peer_stats(b, "127.0.0.1:2", out));

  WORKS(peernet_mesh_close(a));
  WORKS(peernet_mesh_close(b));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_save(b, address));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_remove(b, address));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_known(b, out));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_peer_stats(b, address, out));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_connections(b, out));
  peernet_writer_free(out);
}

static void while_it_does_not(const char *root, const char *address) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_mesh mesh;
  peernet_book book;
  peernet_writer *out = peernet_writer_new();
  peernet_reader entry;
  options.data_dir = folder(root, "mesh");
  WORKS(peernet_mesh_book(&options, &book));
  FAILS(PEERNET_ERR_DATA, peernet_mesh_open(&options, &mesh));
  WORKS(peernet_book_known(book, out));
  CHECK(is_known(out, address, &entry) && is_saved(&entry) && integer(&entry, "connections_ok") == 1);
  WORKS(peernet_book_save(book, "127.0.0.1:1"));
  WORKS(peernet_book_remove(book, address));
  FAILS(PEERNET_ERR_END, peernet_book_peer_stats(book, address, out));
  FAILS(PEERNET_ERR_ADDRESS, peernet_book_save(book, "nowhere"));
  FAILS(PEERNET_ERR_ADDRESS, peernet_book_remove(book, "nowhere"));
  FAILS(PEERNET_ERR_ADDRESS, peernet_book_peer_stats(book, "nowhere", out));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_book_save(book, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_book_remove(book, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_book_known(book, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_book_peer_stats(book, NULL, out));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_book_peer_stats(book, address, NULL));
  // It is none of a node's kind.
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_close(book));
  WORKS(peernet_book_close(book));
  FAILS(PEERNET_ERR_CLOSED, peernet_book_close(book));
  FAILS(PEERNET_ERR_CLOSED, peernet_book_save(book, address));
  FAILS(PEERNET_ERR_CLOSED, peernet_book_remove(book, address));
  FAILS(PEERNET_ERR_CLOSED, peernet_book_known(book, out));
  FAILS(PEERNET_ERR_CLOSED, peernet_book_peer_stats(book, address, out));

  // All of it is on the disk.
  WORKS(peernet_mesh_book(&options, &book));
  WORKS(peernet_writer_clear(out));
  WORKS(peernet_book_peer_stats(book, "127.0.0.1:1", out));
  entry = values(out);
  CHECK(is_saved(&entry) && integer(&entry, "connections_ok") == 0);
  FAILS(PEERNET_ERR_END, peernet_book_peer_stats(book, address, out));
  WORKS(peernet_book_close(book));

  // And that of a table.
  options.data_dir = folder(root, "table");
  WORKS(peernet_table_book(&options, &book));
  WORKS(peernet_book_save(book, "127.0.0.1:1"));
  WORKS(peernet_book_close(book));
  WORKS(peernet_table_open(&options, &mesh));
  WORKS(peernet_writer_clear(out));
  WORKS(peernet_mesh_peer_stats(mesh, "127.0.0.1:1", out));
  WORKS(peernet_mesh_close(mesh));

  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_book(&options, NULL));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_table_book(&options, NULL));
  FAILS(PEERNET_ERR_CONFIG, peernet_mesh_book(NULL, &book));
  FAILS(PEERNET_ERR_CONFIG, peernet_table_book(NULL, &book));
  peernet_writer_free(out);
}

int main(int argc, char **argv) {
  char address[PEERNET_ADDRESS_SIZE];
  CHECK(argc == 2);
  while_it_runs(argv[1], address, sizeof address);
  while_it_does_not(argv[1], address);
  return 0;
}
