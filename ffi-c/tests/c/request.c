// Requests between two processes: without arguments it answers, and tells its address; with that, and its id, it
// asks.
#include "check.h"

#define VALUE(writer) peernet_writer_data(writer), peernet_writer_len(writer)

// Adds what it is given; lets go of "refuse", keeps "late" for ever, and ends with "end".
static int answer(void) {
  peernet_mesh mesh;
  peernet_batch *batch;
  const peernet_event *event;
  peernet_writer *out = peernet_writer_new();
  peernet_reader reader;
  char address[PEERNET_ADDRESS_SIZE], id[PEERNET_ID_SIZE];
  const uint8_t none[] = {0xc1};
  int ended = 0;
  WORKS(peernet_mesh_open(NULL, &mesh));
  WORKS(peernet_mesh_want(mesh, PEERNET_WANT_REQUESTS));
  WORKS(peernet_mesh_address(mesh, address, sizeof address));
  WORKS(peernet_mesh_id(mesh, id, sizeof id));
  printf("%s %s\n", address, id);
  fflush(stdout);
  while (!ended) {
    uint64_t token;
    int64_t number, sum = 0;
    event = next(mesh, PEERNET_EVENT_REQUEST, &batch);
    token = event->token;
    CHECK(event->verified == 1 && token != 0);
    WORKS(peernet_reader_init(&reader, event->payload, event->payload_len));
    if (peernet_reader_type(&reader) == PEERNET_TYPE_INT) {
      while (peernet_reader_int(&reader, &number) == PEERNET_OK) sum += number;
      peernet_batch_free(batch);
      WORKS(peernet_writer_clear(out));
      WORKS(peernet_writer_text(out, "sum"));
      WORKS(peernet_writer_int(out, sum));
      // What is not sent does not use it up.
      FAILS(PEERNET_ERR_VALUE, peernet_mesh_respond(mesh, token, none, 1, 0));
      FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_respond(mesh, token, NULL, 1, 0));
      WORKS(peernet_mesh_respond(mesh, token, VALUE(out), 0));
      FAILS(PEERNET_ERR_UNANSWERED, peernet_mesh_respond(mesh, token, VALUE(out), PATIENCE));
      FAILS(PEERNET_ERR_UNANSWERED, peernet_mesh_refuse(mesh, token));
      continue;
    }
    if (reads(&(peernet_reader){event->payload, event->payload_len, 0}, "refuse")) {
      WORKS(peernet_mesh_refuse(mesh, token));
      FAILS(PEERNET_ERR_UNANSWERED, peernet_mesh_refuse(mesh, token));
    }
    ended = reads(&(peernet_reader){event->payload, event->payload_len, 0}, "end");
    peernet_batch_free(batch);
    // One without a payload is an answer too.
    if (ended) WORKS(peernet_mesh_respond(mesh, token, NULL, 0, PATIENCE));
  }
  await(mesh, PEERNET_EVENT_DISCONNECTED);
  WORKS(peernet_mesh_close(mesh));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_respond(mesh, 1, NULL, 0, 0));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_refuse(mesh, 1));
  peernet_writer_free(out);
  return 0;
}

static void says(peernet_writer *writer, const char *text) {
  WORKS(peernet_writer_clear(writer));
  WORKS(peernet_writer_text(writer, text));
}

static int ask(const char *address, const char *peer) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_mesh mesh;
  peernet_writer *out = peernet_writer_new(), *answer = peernet_writer_new();
  peernet_reader reader;
  const uint8_t none[] = {0xc1};
  int64_t sum;
  WORKS(peernet_mesh_open(NULL, &mesh));
  WORKS(peernet_mesh_connect(mesh, address, PATIENCE, NULL, 0));
  WORKS(peernet_writer_int(out, 2));
  WORKS(peernet_writer_int(out, 3));
  WORKS(peernet_mesh_request(mesh, peer, VALUE(out), -1, answer));
  WORKS(peernet_mesh_request(mesh, peer, VALUE(out), PATIENCE, answer));
  // The second stands behind the first.
  reader = values(answer);
  CHECK(reads(&reader, "sum") && peernet_reader_int(&reader, &sum) == PEERNET_OK && sum == 5);
  CHECK(reads(&reader, "sum") && peernet_reader_int(&reader, &sum) == PEERNET_OK && sum == 5);
  CHECK(peernet_reader_type(&reader) == PEERNET_TYPE_END);

  WORKS(peernet_writer_clear(answer));
  says(out, "refuse");
  FAILS(PEERNET_ERR_UNANSWERED, peernet_mesh_request(mesh, peer, VALUE(out), PATIENCE, answer));
  says(out, "late");
  FAILS(PEERNET_ERR_TIMED_OUT, peernet_mesh_request(mesh, peer, VALUE(out), 1, answer));
  FAILS(PEERNET_ERR_TIMED_OUT, peernet_mesh_request(mesh, peer, VALUE(out), 0, answer));
  FAILS(PEERNET_ERR_ID, peernet_mesh_request(mesh, "0", VALUE(out), PATIENCE, answer));
  FAILS(PEERNET_ERR_VALUE, peernet_mesh_request(mesh, peer, none, 1, PATIENCE, answer));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_request(mesh, NULL, VALUE(out), PATIENCE, answer));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_request(mesh, peer, NULL, 1, PATIENCE, answer));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_request(mesh, peer, VALUE(out), PATIENCE, NULL));
  CHECK(peernet_writer_len(answer) == 0);
  says(out, "end");
  WORKS(peernet_mesh_request(mesh, peer, VALUE(out), PATIENCE, answer));
  CHECK(peernet_writer_len(answer) == 0);
  WORKS(peernet_mesh_close(mesh));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_request(mesh, peer, VALUE(out), PATIENCE, answer));

  // Where nobody can prove who answers.
  options.encryption = "plaintext";
  WORKS(peernet_mesh_open(&options, &mesh));
  FAILS(PEERNET_ERR_NEEDS_TLS, peernet_mesh_request(mesh, peer, VALUE(out), PATIENCE, answer));
  WORKS(peernet_mesh_close(mesh));
  peernet_writer_free(out);
  peernet_writer_free(answer);
  return 0;
}

int main(int argc, char **argv) {
  return argc == 3 ? ask(argv[1], argv[2]) : answer();
}
