// Settings that several programs share: table [HOST:PORT], with the address of any that runs already. Lines like
// "colour = green" set one, "colour =" takes it away, "?" shows all. What anyone changes is shown everywhere.
#include <peernet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void show(const void *key, size_t key_len, const uint8_t *value, size_t value_len) {
  peernet_reader reader;
  const char *text = "(no text)";
  size_t len = strlen(text);
  peernet_reader_init(&reader, value, value_len);
  peernet_reader_text(&reader, &text, &len);  // which leaves them as they are if it is something else
  printf("%.*s = %.*s\n", (int)key_len, (const char *)key, (int)len, text);
}

static void show_all(peernet_table table) {
  peernet_items *items;
  if (peernet_table_items(table, &items) != PEERNET_OK) return;
  for (size_t i = 0; i < peernet_items_len(items); i++) {
    const peernet_item *item = peernet_items_at(items, i);
    show(item->key, item->key_len, item->value, item->value_len);
  }
  peernet_items_free(items);
}

static void tell(peernet_table table, const peernet_event *event) {
  switch (event->type) {
    case PEERNET_EVENT_UPDATE:
      show(event->key, event->key_len, event->payload, event->payload_len);
      break;
    case PEERNET_EVENT_DELETE:
      printf("%.*s is gone\n", (int)event->key_len, (const char *)event->key);
      break;
    case PEERNET_EVENT_SUPERSEDED:
      printf("%.*s: another was faster\n", (int)event->key_len, (const char *)event->key);
      break;
    case PEERNET_EVENT_CHANGES_LAGGED:  // too many to have been shown; what is there now is what counts
      show_all(table);
      break;
  }
}

// The text between two places, without the blanks around it.
static const char *trim(const char *from, const char *to, size_t *len) {
  while (from < to && strchr(" \t\n", *from)) from++;
  while (from < to && strchr(" \t\n", to[-1])) to--;
  *len = (size_t)(to - from);
  return from;
}

static void obey(peernet_table table, const char *line, peernet_writer *value) {
  const char *middle = strchr(line, '='), *key, *text;
  size_t key_len, len;
  peernet_status status;
  if (line[0] == '?') {
    show_all(table);
    return;
  }
  if (!middle) return;
  key = trim(line, middle, &key_len);
  text = trim(middle + 1, line + strlen(line), &len);
  if (len == 0) {
    status = peernet_table_delete(table, key, key_len, -1, NULL);
  } else {
    peernet_writer_clear(value);
    status = peernet_writer_text_len(value, text, len);
    if (status == PEERNET_OK)
      status = peernet_table_set(table, key, key_len, peernet_writer_data(value), peernet_writer_len(value), -1, NULL);
  }
  // Mostly that the key is somebody else's for now.
  if (status != PEERNET_OK) printf("not done: %s\n", peernet_error_message());
}

static int run(peernet_table table, const char *other) {
  struct pollfd fds[2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
  char line[1024], address[PEERNET_ADDRESS_SIZE];
  peernet_writer *value = peernet_writer_new();
  int failed = peernet_mesh_want(table, PEERNET_WANT_CHANGES) || peernet_mesh_address(table, address, sizeof address) ||
               peernet_mesh_poll_fd(table, &fds[1].fd) || (other && peernet_mesh_connect(table, other, 10000, NULL, 0));
  if (!failed) printf("at %s\n", address);
  setvbuf(stdin, NULL, _IONBF, 0);  // poll sees nothing of what stdio has read ahead
  while (!failed && fflush(stdout) == 0 && poll(fds, 2, -1) > 0) {
    peernet_batch *batch;
    if (peernet_mesh_poll(table, 64, 0, &batch) == PEERNET_OK)
      for (size_t i = 0; i < peernet_batch_len(batch); i++) tell(table, peernet_batch_at(batch, i));
    peernet_batch_free(batch);
    if (fds[0].revents) {
      if (!fgets(line, sizeof line, stdin)) break;
      obey(table, line, value);
    }
  }
  peernet_writer_free(value);
  return failed;
}

int main(int argc, char **argv) {
  peernet_table table;
  int failed = peernet_table_open(NULL, &table) || run(table, argc > 1 ? argv[1] : NULL);
  if (failed) fprintf(stderr, "table: %s\n", peernet_error_message());
  peernet_mesh_close(table);  // which does no harm to what was not opened
  return failed;
}
