// Callbacks for events, and hooks for codes.
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <sys/prctl.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;

// What a callback has seen, under the lock. What is wrong is told by the main thread.
struct seen {
  peernet_mesh mesh;
  pthread_t thread;
  uint64_t messages, lagged, replies;
  int events, inside, wrong, dropped, held, takes;
};

static void wrong_unless(struct seen *seen, int right) {
  pthread_mutex_lock(&lock);
  if (!right) seen->wrong++;
  pthread_mutex_unlock(&lock);
}

static void until(uint64_t *place, uint64_t value) {
  pthread_mutex_lock(&lock);
  while (*place < value) pthread_cond_wait(&news, &lock);
  pthread_mutex_unlock(&lock);
}

static void drop(void *user) {
  struct seen *seen = user;
  peernet_batch *batch;
  wrong_unless(seen, seen->inside == 0);
  wrong_unless(seen, peernet_mesh_poll(seen->mesh, 1, 0, &batch) == PEERNET_ERR_REENTRANT);
  pthread_mutex_lock(&lock);
  seen->dropped++;
  pthread_cond_broadcast(&news);
  pthread_mutex_unlock(&lock);
}

// All that would wait for the callback is refused in it, and all else works.
static void try_all(struct seen *seen, const peernet_event *event) {
  peernet_mesh mesh = seen->mesh;
  peernet_batch *batch;
  char id[PEERNET_ID_SIZE];
  wrong_unless(seen, peernet_mesh_poll(mesh, 1, 0, &batch) == PEERNET_ERR_REENTRANT && !batch);
  wrong_unless(seen, peernet_mesh_connect(mesh, "127.0.0.1:1", -1, NULL, 0) == PEERNET_ERR_REENTRANT);
  wrong_unless(seen, peernet_mesh_broadcast(mesh, event->payload, 1, 1000, NULL) == PEERNET_ERR_REENTRANT);
  wrong_unless(seen, peernet_mesh_close(mesh) == PEERNET_ERR_REENTRANT);
  wrong_unless(seen, peernet_mesh_id(mesh, id, sizeof id) == PEERNET_OK);
  wrong_unless(seen, peernet_mesh_reply(mesh, event, (const uint8_t *)"\x07", 1, 0, NULL) == PEERNET_OK);
}

static void on_event(void *user, const peernet_event *event) {
  struct seen *seen = user;
  peernet_reader reader;
  uint64_t number = 0;
  char name[16];
  pthread_mutex_lock(&lock);
  if (seen->inside++ != 0 || event->struct_size != sizeof *event) seen->wrong++;
  if (seen->events++ == 0) seen->thread = pthread_self();
  if (!pthread_equal(seen->thread, pthread_self())) seen->wrong++;
  pthread_cond_broadcast(&news);
  pthread_mutex_unlock(&lock);
  wrong_unless(seen, prctl(PR_GET_NAME, name) == 0 && strcmp(name, "peernet-events") == 0);
  if (event->type == PEERNET_EVENT_MESSAGE) {
    peernet_reader_init(&reader, event->payload, event->payload_len);
    wrong_unless(seen, peernet_reader_uint(&reader, &number) == PEERNET_OK);
    // In order, with nothing in between unless we are told.
    wrong_unless(seen, seen->lagged > 0 || number == seen->messages);
    if (number == 0) try_all(seen, event);
  }
  pthread_mutex_lock(&lock);
  while (seen->held) pthread_cond_wait(&news, &lock);
  if (event->type == PEERNET_EVENT_MESSAGE) seen->messages++;
  if (event->type == PEERNET_EVENT_LAGGED) seen->lagged += event->count;
  seen->inside--;
  pthread_cond_broadcast(&news);
  pthread_mutex_unlock(&lock);
}

static void hold(struct seen *seen, int held) {
  pthread_mutex_lock(&lock);
  seen->held = held;
  pthread_cond_broadcast(&news);
  pthread_mutex_unlock(&lock);
}

static peernet_mesh opened(const peernet_options *options) {
  peernet_mesh mesh;
  WORKS(peernet_mesh_open(options, &mesh));
  return mesh;
}

static void connect_to(peernet_mesh from, peernet_mesh to) {
  char address[PEERNET_ADDRESS_SIZE];
  WORKS(peernet_mesh_address(to, address, sizeof address));
  WORKS(peernet_mesh_connect(from, address, PATIENCE, NULL, 0));
}

static void tell(peernet_mesh mesh, uint64_t code, uint64_t from, uint64_t to) {
  peernet_writer *out = peernet_writer_new();
  for (uint64_t number = from; number < to; number++) {
    WORKS(peernet_writer_clear(out));
    WORKS(peernet_writer_uint(out, number));
    if (code == 0) WORKS(peernet_mesh_broadcast(mesh, peernet_writer_data(out), peernet_writer_len(out), -1, NULL));
    else WORKS(peernet_mesh_broadcast_as(mesh, code, peernet_writer_data(out), peernet_writer_len(out), -1, NULL));
  }
  peernet_writer_free(out);
}

static void *close_it(void *mesh) {
  return (void *)(intptr_t)peernet_mesh_close(*(peernet_mesh *)mesh);
}

static void events(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_setting patience = {"inbox_patience", 1};
  struct seen seen = {0}, other = {0};
  peernet_mesh mesh, teller = opened(NULL);
  peernet_batch *batch;
  pthread_t closing;
  void *closed;
  uint64_t lagged = 0, before;
  int fd;

  options.queue = 100;
  options.settings = &patience;
  options.setting_count = 1;
  seen.mesh = other.mesh = mesh = opened(&options);
  WORKS(peernet_mesh_on_event(mesh, on_event, &seen, drop));
  connect_to(teller, mesh);
  tell(teller, 0, 0, 50);
  until(&seen.messages, 50);

  // There is one reader.
  FAILS(PEERNET_ERR_BUSY, peernet_mesh_poll(mesh, 1, 0, &batch));
  FAILS(PEERNET_ERR_BUSY, peernet_mesh_poll(mesh, 1, -1, &batch));
  FAILS(PEERNET_ERR_BUSY, peernet_mesh_poll_fd(mesh, &fd));
  FAILS(PEERNET_ERR_BUSY, peernet_mesh_on_event(mesh, on_event, &other, drop));
  CHECK(other.dropped == 1 && other.events == 0);
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_on_event(teller, NULL, &other, drop));
  CHECK(other.dropped == 2);
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_on_event(7, on_event, &other, drop));
  CHECK(other.dropped == 3);
  // The reply of the first message.
  CHECK(same(next(teller, PEERNET_EVENT_MESSAGE, &batch)->payload, 1, "\x07"));
  peernet_batch_free(batch);

  // While it does not return, messages wait, and then are dropped and told of.
  hold(&seen, 1);
  for (before = 50; lagged == 0; before += 500) {
    tell(teller, 0, before, before + 500);
    WORKS(peernet_mesh_stat(mesh, "lagged", &lagged));
  }
  hold(&seen, 0);
  until(&seen.lagged, 1);

  // Closing waits for a callback that runs. None comes behind it.
  hold(&seen, 1);
  tell(teller, 0, 1, 51);
  pthread_mutex_lock(&lock);
  while (!seen.inside) pthread_cond_wait(&news, &lock);
  pthread_mutex_unlock(&lock);
  CHECK(pthread_create(&closing, NULL, close_it, &mesh) == 0);
  await(teller, PEERNET_EVENT_DISCONNECTED);
  CHECK(seen.dropped == 0);
  before = seen.messages;
  hold(&seen, 0);
  CHECK(pthread_join(closing, &closed) == 0 && (intptr_t)closed == PEERNET_OK);
  CHECK(seen.dropped == 1 && seen.inside == 0 && seen.messages <= before + 1);
  CHECK(seen.wrong == 0 && other.wrong == 0);
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_poll(mesh, 1, 0, &batch));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_on_event(mesh, on_event, &other, drop));
  CHECK(other.dropped == 4);
  // Without anything to free.
  WORKS(peernet_mesh_on_event(teller, on_event, &other, NULL));
  WORKS(peernet_mesh_close(teller));
  CHECK(other.dropped == 4);
}

static void *poll_it(void *mesh) {
  peernet_batch *batch;
  peernet_status status = peernet_mesh_poll(*(peernet_mesh *)mesh, 1, -1, &batch);
  peernet_batch_free(batch);
  return (void *)(intptr_t)status;
}

// Of a thread that polls and a callback, the later one is refused.
static void one_reader(void) {
  struct seen seen = {0};
  peernet_mesh mesh = seen.mesh = opened(NULL);
  pthread_t polling;
  void *polled;
  peernet_status status;
  CHECK(pthread_create(&polling, NULL, poll_it, &mesh) == 0);
  status = peernet_mesh_on_event(mesh, on_event, &seen, drop);
  CHECK(status == PEERNET_OK || status == PEERNET_ERR_BUSY);
  if (status == PEERNET_OK) CHECK(pthread_join(polling, &polled) == 0);
  WORKS(peernet_mesh_close(mesh));
  if (status != PEERNET_OK) CHECK(pthread_join(polling, &polled) == 0);
  CHECK((intptr_t)polled == (status == PEERNET_OK ? PEERNET_ERR_BUSY : PEERNET_ERR_CLOSED));
  CHECK(seen.dropped == 1 && seen.wrong == 0);
}

// Waits until it was dropped, which may be a little after a hook was seen to run. Never more often.
static void until_dropped(struct seen *seen, int times) {
  pthread_mutex_lock(&lock);
  while (seen->dropped < times) pthread_cond_wait(&news, &lock);
  CHECK(seen->dropped == times);
  pthread_mutex_unlock(&lock);
}

// Takes odd numbers, if it takes any.
static int32_t on_code(void *user, const peernet_event *message) {
  struct seen *seen = user;
  peernet_reader reader;
  uint64_t number = 0;
  peernet_reader_init(&reader, message->payload, message->payload_len);
  wrong_unless(seen, message->type == PEERNET_EVENT_MESSAGE && message->verified == 1);
  wrong_unless(seen, peernet_reader_uint(&reader, &number) == PEERNET_OK);
  if (number == 0) try_all(seen, message);
  pthread_mutex_lock(&lock);
  seen->messages++;
  pthread_cond_broadcast(&news);
  pthread_mutex_unlock(&lock);
  return seen->takes && number % 2;
}

static void hooks(void) {
  struct seen seen = {0}, second = {0}, all = {0};
  peernet_mesh mesh = opened(NULL), teller = opened(NULL);
  peernet_batch *batch;
  peernet_reader reader;
  uint64_t number, code;

  seen.mesh = second.mesh = all.mesh = mesh;
  seen.takes = all.takes = 1;
  WORKS(peernet_mesh_on_code(mesh, 0x40, on_code, &seen, drop));
  WORKS(peernet_mesh_on_code(mesh, 0, on_code, &all, drop));
  connect_to(teller, mesh);
  tell(teller, 0x40, 0, 10);
  tell(teller, 0, 0, 10);
  until(&seen.messages, 10);
  // What the hook did not take comes, and of 0x40 nothing.
  for (uint64_t wanted = 0; wanted < 10; wanted += 2) {
    const peernet_event *event = next(mesh, PEERNET_EVENT_MESSAGE, &batch);
    CHECK(event->code == 0);
    WORKS(peernet_reader_init(&reader, event->payload, event->payload_len));
    WORKS(peernet_reader_uint(&reader, &number));
    CHECK(number == wanted);
    peernet_batch_free(batch);
  }
  until(&all.messages, 10);
  CHECK(seen.wrong == 0 && all.wrong == 0 && seen.dropped == 0);
  // Both have answered.
  for (int replies = 0; replies < 2; replies++) await(teller, PEERNET_EVENT_MESSAGE);

  // Another has its place, and null ends that.
  WORKS(peernet_mesh_on_code(mesh, 0x40, on_code, &second, drop));
  until_dropped(&seen, 1);
  tell(teller, 0x40, 10, 20);
  until(&second.messages, 10);
  CHECK(seen.messages == 10);
  WORKS(peernet_mesh_on_code(mesh, 0x40, NULL, NULL, NULL));
  until_dropped(&second, 1);
  tell(teller, 0x40, 20, 21);
  tell(teller, 0, 20, 21);
  await(mesh, PEERNET_EVENT_MESSAGE);
  CHECK(second.messages == 10);

  for (code = 1; code < 0x31; code += 0x2f) {
    int before = second.dropped;
    FAILS(PEERNET_ERR_CODE, peernet_mesh_on_code(mesh, code, on_code, &second, drop));
    CHECK(second.dropped == before + 1);
  }
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_on_code(7, 0x40, on_code, &second, drop));
  CHECK(second.dropped == 4);
  WORKS(peernet_mesh_close(mesh));
  until_dropped(&all, 1);
  CHECK(all.wrong == 0 && second.wrong == 0);
  WORKS(peernet_mesh_close(teller));
}

int main(void) {
  events();
  one_reader();
  hooks();
  return 0;
}
