// An event loop with epoll over a node, a clock and the standard input: epoll [HOST:PORT]. Every second it tells
// everyone so; it prints what it hears, and who comes and goes, and ends with its input (Linux).
#define _POSIX_C_SOURCE 200809L
#include <peernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static peernet_mesh mesh;
static peernet_writer *out;

static void check(int works, const char *why) {
  if (works) return;
  fprintf(stderr, "epoll: %s\n", why);
  exit(1);
}

static void print(const peernet_event *event) {
  peernet_reader reader;
  const char *word;
  uint64_t number;
  size_t len;
  switch (event->type) {
    case PEERNET_EVENT_CONNECTED:
      printf("%.8s is here\n", event->peer);
      break;
    case PEERNET_EVENT_DISCONNECTED:
      printf("%.8s is gone: %s\n", event->peer, event->text);
      break;
    case PEERNET_EVENT_MESSAGE:
      // Anyone may have sent it: what is not as expected is passed over.
      if (peernet_reader_init(&reader, event->payload, event->payload_len) == PEERNET_OK &&
          peernet_reader_text(&reader, &word, &len) == PEERNET_OK &&
          peernet_reader_uint(&reader, &number) == PEERNET_OK)
        printf("%.8s: %.*s %llu\n", event->peer, (int)len, word, (unsigned long long)number);
      break;
    default:
      break;
  }
}

// Takes what waits, without waiting for more.
static void hear(void) {
  peernet_batch *batch;
  peernet_status status;
  while ((status = peernet_mesh_poll(mesh, 64, 0, &batch)) == PEERNET_OK) {
    for (size_t i = 0; i < peernet_batch_len(batch); i++) print(peernet_batch_at(batch, i));
    peernet_batch_free(batch);
  }
  check(status == PEERNET_ERR_TIMED_OUT, peernet_error_message());
  fflush(stdout);
}

// A loop must not wait in one place: with a time-out of 0, a full queue is a status like another.
static void beat(int clock) {
  static uint64_t beats;
  uint64_t times;
  if (read(clock, &times, sizeof times) != sizeof times) return;
  beats += times;
  peernet_writer_clear(out);
  peernet_writer_text(out, "beat");
  peernet_writer_uint(out, beats);
  if (peernet_mesh_broadcast(mesh, peernet_writer_data(out), peernet_writer_len(out), 0, NULL) != PEERNET_OK)
    fprintf(stderr, "epoll: %s\n", peernet_error_message());
}

static void watch(int epoll, int fd) {
  struct epoll_event wanted;
  memset(&wanted, 0, sizeof wanted);
  wanted.events = EPOLLIN;
  wanted.data.fd = fd;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted) == 0, "epoll cannot watch this");
}

int main(int argc, char **argv) {
  struct itimerspec second = {{1, 0}, {1, 0}};
  char address[PEERNET_ADDRESS_SIZE], input[256];
  int epoll = epoll_create1(EPOLL_CLOEXEC), clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), node;
  check(epoll >= 0 && clock >= 0 && timerfd_settime(clock, 0, &second, NULL) == 0, "no epoll or no clock");
  out = peernet_writer_new();
  check(peernet_mesh_open(NULL, &mesh) == PEERNET_OK, peernet_error_message());
  check(peernet_mesh_address(mesh, address, sizeof address) == PEERNET_OK, peernet_error_message());
  check(peernet_mesh_poll_fd(mesh, &node) == PEERNET_OK, peernet_error_message());
  if (argc > 1) check(peernet_mesh_connect(mesh, argv[1], 10000, NULL, 0) == PEERNET_OK, peernet_error_message());
  printf("at %s\n", address);
  fflush(stdout);
  watch(epoll, STDIN_FILENO);
  watch(epoll, clock);
  watch(epoll, node);
  for (int ended = 0; !ended;) {
    struct epoll_event ready[3];
    int count = epoll_wait(epoll, ready, 3, -1);
    for (int i = 0; i < count; i++) {
      int fd = ready[i].data.fd;
      if (fd == node) hear();
      if (fd == clock) beat(clock);
      if (fd == STDIN_FILENO) ended = read(STDIN_FILENO, input, sizeof input) <= 0;
    }
  }
  // The node's descriptor is gone with it: first out of the loop.
  close(epoll);
  close(clock);
  check(peernet_mesh_close(mesh) == PEERNET_OK, peernet_error_message());
  peernet_writer_free(out);
  return 0;
}
