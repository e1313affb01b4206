// Links over descriptors that the program brings.
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
  peernet_mesh mesh;
  int input, output, role;
  char peer[PEERNET_ID_SIZE];
  peernet_status status;
};

static void *attach(void *argument) {
  struct end *end = argument;
  end->status = peernet_mesh_attach_fd(end->mesh, end->input, end->output, end->role, PATIENCE, end->peer,
                                       sizeof end->peer);
  return NULL;
}

static int is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

// Two nodes, and a message each way.
static void linked(int a_in, int a_out, int b_in, int b_out) {
  struct end a = {0, a_in, a_out, PEERNET_DIALLER, "", 1}, b = {0, b_in, b_out, PEERNET_ACCEPTOR, "", 1};
  char id[PEERNET_ID_SIZE];
  peernet_batch *batch;
  pthread_t thread;
  WORKS(peernet_mesh_open(NULL, &a.mesh));
  WORKS(peernet_mesh_open(NULL, &b.mesh));
  CHECK(pthread_create(&thread, NULL, attach, &a) == 0);
  attach(&b);
  WORKS(b.status);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(a.status == PEERNET_OK);
  WORKS(peernet_mesh_id(b.mesh, id, sizeof id));
  CHECK(strcmp(a.peer, id) == 0);
  WORKS(peernet_mesh_broadcast(a.mesh, (const uint8_t *)"\x05", 1, PATIENCE, NULL));
  CHECK(*next(b.mesh, PEERNET_EVENT_MESSAGE, &batch)->payload == 5);
  WORKS(peernet_mesh_reply(b.mesh, peernet_batch_at(batch, 0), (const uint8_t *)"\x06", 1, PATIENCE, NULL));
  peernet_batch_free(batch);
  CHECK(*next(a.mesh, PEERNET_EVENT_MESSAGE, &batch)->payload == 6);
  peernet_batch_free(batch);
  WORKS(peernet_mesh_close(a.mesh));
  await(b.mesh, PEERNET_EVENT_DISCONNECTED);
  WORKS(peernet_mesh_close(b.mesh));
  CHECK(!is_open(a_in) && !is_open(a_out) && !is_open(b_in) && !is_open(b_out));
}

static void sockets(void) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  linked(ends[0], ends[0], ends[1], ends[1]);
}

static void pipes(void) {
  int to[2], back[2];
  CHECK(pipe(to) == 0 && pipe(back) == 0);
  linked(back[0], to[1], to[0], back[1]);
}

// They are closed whatever comes of it, and nothing ends the program.
static void refused(void) {
  int ends[2], to[2], back[2], file;
  peernet_mesh mesh;
  WORKS(peernet_mesh_open(NULL, &mesh));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_attach_fd(mesh, -1, -1, PEERNET_DIALLER, -1, NULL, 0));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_attach_fd(mesh, 1000, 1000, PEERNET_DIALLER, -1, NULL, 0));
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_attach_fd(mesh, ends[0], ends[0], 0, -1, NULL, 0));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_attach_fd(7, ends[1], ends[1], PEERNET_DIALLER, -1, NULL, 0));
  CHECK(!is_open(ends[0]) && !is_open(ends[1]));
  file = open("/dev/null", O_RDWR);
  CHECK(file >= 0);
  FAILS(PEERNET_ERR_CONNECT, peernet_mesh_attach_fd(mesh, file, file, PEERNET_DIALLER, -1, NULL, 0));
  CHECK(!is_open(file));

  // Nobody at the other end: of a socket, and of a pipe.
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  CHECK(close(ends[1]) == 0);
  FAILS(PEERNET_ERR_CONNECT, peernet_mesh_attach_fd(mesh, ends[0], ends[0], PEERNET_DIALLER, -1, NULL, 0));
  CHECK(pipe(to) == 0 && pipe(back) == 0);
  CHECK(close(to[0]) == 0);
  FAILS(PEERNET_ERR_CONNECT, peernet_mesh_attach_fd(mesh, back[0], to[1], PEERNET_DIALLER, -1, NULL, 0));
  CHECK(close(back[1]) == 0);

  // Nobody answers.
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  FAILS(PEERNET_ERR_TIMED_OUT, peernet_mesh_attach_fd(mesh, ends[0], ends[0], PEERNET_DIALLER, 50, NULL, 0));
  CHECK(close(ends[1]) == 0);
  WORKS(peernet_mesh_close(mesh));
}

int main(void) {
  sockets();
  pipes();
  refused();
  return 0;
}
