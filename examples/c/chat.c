// A chat in a mesh: chat [HOST:PORT], with the address of any node of it. Other terminals join the address it tells.
#include <peernet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void hear(const peernet_event *event) {
  peernet_reader reader;
  const char *text;
  size_t len;
  if (event->type != PEERNET_EVENT_MESSAGE) return;
  peernet_reader_init(&reader, event->payload, event->payload_len);
  if (peernet_reader_text(&reader, &text, &len) == PEERNET_OK) printf("%.8s: %.*s\n", event->peer, (int)len, text);
}

int main(int argc, char **argv) {
  peernet_mesh mesh;
  peernet_batch *batch;
  peernet_writer *out = peernet_writer_new();
  char line[1024], address[PEERNET_ADDRESS_SIZE];
  struct pollfd fds[2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
  int failed = peernet_mesh_open(NULL, &mesh) || peernet_mesh_address(mesh, address, sizeof address) ||
               peernet_mesh_poll_fd(mesh, &fds[1].fd) ||
               (argc > 1 && peernet_mesh_connect(mesh, argv[1], 10000, NULL, 0));
  if (!failed) printf("at %s\n", address);
  setvbuf(stdin, NULL, _IONBF, 0);  // poll sees nothing of what stdio has read ahead
  while (!failed && fflush(stdout) == 0 && poll(fds, 2, -1) > 0) {
    if (peernet_mesh_poll(mesh, 64, 0, &batch) == PEERNET_OK)
      for (size_t i = 0; i < peernet_batch_len(batch); i++) hear(peernet_batch_at(batch, i));
    peernet_batch_free(batch);
    if (fds[0].revents && !fgets(line, sizeof line, stdin)) break;
    if (fds[0].revents && !peernet_writer_clear(out) && !peernet_writer_text_len(out, line, strcspn(line, "\n")))
      failed = peernet_mesh_broadcast(mesh, peernet_writer_data(out), peernet_writer_len(out), -1, NULL);
  }
  if (failed) fprintf(stderr, "chat: %s\n", peernet_error_message());
  return peernet_mesh_close(mesh), peernet_writer_free(out), failed;
}
