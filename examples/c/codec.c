// Messages and bytes, without a node or a socket: codec TEXT... makes the frame of a message that says these texts,
// tells it in hexadecimal digits (as `peernet decode` reads them), reads it again, and tells what it says.
#include <peernet.h>
#include <stdio.h>

static const uint8_t compression[] = {19, 17};  // zlib for writing; zlib and gzip are read

// Writes the payload: a code, which says what kind of message it is, and the texts.
static int write_payload(peernet_writer *payload, char **texts) {
  int failed = peernet_writer_uint(payload, 0);
  for (; !failed && *texts; texts++) failed = peernet_writer_text(payload, *texts);
  return failed;
}

static void print_values(const peernet_message *message) {
  peernet_reader reader;
  const char *text;
  size_t len;
  uint64_t code;
  peernet_reader_init(&reader, message->payload, message->payload_len);
  if (peernet_reader_uint(&reader, &code) == PEERNET_OK) printf("code: %u\n", (unsigned)code);
  while (peernet_reader_text(&reader, &text, &len) == PEERNET_OK) printf("text: %.*s\n", (int)len, text);
}

int main(int argc, char **argv) {
  static const char sender[] = "6URV";
  peernet_message message = PEERNET_MESSAGE_INIT, read = PEERNET_MESSAGE_INIT;
  peernet_codec codec = PEERNET_CODEC_INIT;
  peernet_writer *payload = peernet_writer_new(), *frame = peernet_writer_new(), *body = peernet_writer_new();
  char id[PEERNET_ID_SIZE];
  size_t i;
  int failed = write_payload(payload, argv + (argc > 0));

  message.time = 1479600000;
  message.sender = (const uint8_t *)sender;
  message.sender_len = sizeof sender - 1;
  message.payload = peernet_writer_data(payload);
  message.payload_len = peernet_writer_len(payload);
  codec.compression = compression;
  codec.compression_len = sizeof compression;
  failed = failed || peernet_encode(&message, &codec, frame);
  for (i = 0; !failed && i < peernet_writer_len(frame); i++) printf("%02x", peernet_writer_data(frame)[i]);

  failed = failed || peernet_decode(peernet_writer_data(frame), peernet_writer_len(frame), &codec, body, &read, NULL) ||
           peernet_protocol_id("", "Plaintext", id, sizeof id);
  if (!failed) {
    printf("\nsender: %.*s\n", (int)read.sender_len, (const char *)read.sender);
    print_values(&read);
    printf("subnet: %s\n", id);
  }

  if (failed) fprintf(stderr, "codec: %s\n", peernet_error_message());
  peernet_writer_free(payload);
  peernet_writer_free(frame);
  peernet_writer_free(body);
  return failed ? 1 : 0;
}
