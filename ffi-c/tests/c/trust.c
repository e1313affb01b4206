// Identities, secrets, joining rules and options: trust FOLDER, an empty one.
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <sys/stat.h>

static const char *folder;

static const char *path(const char *name) {
  static char place[4096];
  CHECK(snprintf(place, sizeof place, "%s/%s", folder, name) < (int)sizeof place);
  return place;
}

static peernet_mesh opened(const peernet_options *options) {
  peernet_mesh mesh;
  WORKS(peernet_mesh_open(options, &mesh));
  return mesh;
}

static void refused(peernet_status status, const peernet_options *options) {
  peernet_mesh mesh = 7;
  FAILS(status, peernet_mesh_open(options, &mesh));
  CHECK(mesh == 0);
}

static peernet_status connects(peernet_mesh from, peernet_mesh to) {
  char address[PEERNET_ADDRESS_SIZE];
  WORKS(peernet_mesh_address(to, address, sizeof address));
  return peernet_mesh_connect(from, address, PATIENCE, NULL, 0);
}

static const char *id_of(peernet_mesh mesh) {
  static char id[PEERNET_ID_SIZE];
  WORKS(peernet_mesh_id(mesh, id, sizeof id));
  return id;
}

static void identities(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  char identity[PEERNET_IDENTITY_SIZE], again[PEERNET_IDENTITY_SIZE];
  char protocol[PEERNET_ID_SIZE], id[PEERNET_ID_SIZE], by_key[PEERNET_ID_SIZE];
  uint8_t key[32];
  peernet_mesh mesh;

  WORKS(peernet_identity_new(identity, sizeof identity));
  WORKS(peernet_identity_new(again, sizeof again));
  CHECK(strcmp(identity, again) != 0 && strlen(identity) + 1 == sizeof identity);
  FAILS(PEERNET_ERR_TOO_LARGE, peernet_identity_new(again, sizeof again - 1));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_identity_new(NULL, 100));

  options.identity = identity;
  mesh = opened(&options);
  WORKS(peernet_mesh_identity(mesh, again, sizeof again));
  CHECK(strcmp(identity, again) == 0);
  WORKS(peernet_mesh_protocol(mesh, protocol, sizeof protocol));
  WORKS(peernet_identity_id(identity, protocol, id, sizeof id));
  WORKS(peernet_identity_key(identity, key));
  WORKS(peernet_key_id(key, protocol, by_key, sizeof by_key));
  CHECK(strcmp(id, id_of(mesh)) == 0 && strcmp(id, by_key) == 0);
  WORKS(peernet_mesh_close(mesh));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_identity(mesh, again, sizeof again));

  // From a file that only its owner can read, and never over another.
  WORKS(peernet_write_private(path("keys"), identity));
  FAILS(PEERNET_ERR_DATA, peernet_write_private(path("keys"), identity));
  options.identity_file = path("keys");
  refused(PEERNET_ERR_ARGUMENT, &options);
  options.identity = NULL;
  mesh = opened(&options);
  CHECK(strcmp(id, id_of(mesh)) == 0);
  WORKS(peernet_mesh_close(mesh));
  CHECK(chmod(path("keys"), 0644) == 0);
  options.identity_file = path("keys");
  refused(PEERNET_ERR_DATA, &options);
  options.identity_file = path("none");
  refused(PEERNET_ERR_DATA, &options);

  options.identity_file = NULL;
  options.identity = "peernet-key-0";
  refused(PEERNET_ERR_IDENTITY, &options);
  FAILS(PEERNET_ERR_IDENTITY, peernet_identity_id("x", protocol, id, sizeof id));
  FAILS(PEERNET_ERR_IDENTITY, peernet_identity_key("x", key));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_identity_key(identity, NULL));
  FAILS(PEERNET_ERR_ID, peernet_identity_id(identity, "0", id, sizeof id));

  // Where nobody proves anything there are no keys.
  options.identity = identity;
  options.encryption = "plaintext";
  refused(PEERNET_ERR_CONFIG, &options);
  options.identity = NULL;
  mesh = opened(&options);
  FAILS(PEERNET_ERR_NEEDS_TLS, peernet_mesh_identity(mesh, again, sizeof again));
  FAILS(PEERNET_ERR_CONFIG, peernet_mesh_ban(mesh, id, 60));
  WORKS(peernet_mesh_close(mesh));
}

static void secrets(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  const uint8_t bytes[64] = {0xab, 1};
  char secret[PEERNET_SECRET_SIZE], other[PEERNET_SECRET_SIZE];
  peernet_mesh first, second, stranger = opened(NULL), guesser;

  WORKS(peernet_secret_of_bytes(bytes, 64, secret, sizeof secret));
  CHECK(strlen(secret) + 1 == sizeof secret && strncmp(secret, "peernet-secret-ab01", 19) == 0);
  FAILS(PEERNET_ERR_SECRET, peernet_secret_of_bytes(bytes, 15, secret, sizeof secret));
  FAILS(PEERNET_ERR_SECRET, peernet_secret_of_bytes(bytes, 65, secret, sizeof secret));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_secret_of_bytes(NULL, 16, secret, sizeof secret));
  WORKS(peernet_secret_new(secret, sizeof secret));
  WORKS(peernet_secret_new(other, sizeof other));
  CHECK(strcmp(secret, other) != 0);

  options.secret = secret;
  first = opened(&options);
  WORKS(peernet_write_private(path("secret"), secret));
  options.secret = NULL;
  options.secret_file = path("secret");
  second = opened(&options);
  options.secret = other;
  refused(PEERNET_ERR_ARGUMENT, &options);
  options.secret_file = NULL;
  guesser = opened(&options);
  WORKS(connects(second, first));
  FAILS(PEERNET_ERR_CONNECT, connects(guesser, first));
  FAILS(PEERNET_ERR_CONNECT, connects(stranger, first));

  // Nothing of it is told.
  options.secret = "peernet-secret-0123456789abcdef";
  refused(PEERNET_ERR_SECRET, &options);
  CHECK(strstr(peernet_error_message(), "0123456789") == NULL);
  WORKS(peernet_mesh_close(first));
  WORKS(peernet_mesh_close(second));
  WORKS(peernet_mesh_close(guesser));
  WORKS(peernet_mesh_close(stranger));
}

static uint64_t count(peernet_mesh mesh, const char *name) {
  uint64_t value;
  WORKS(peernet_mesh_stat(mesh, name, &value));
  return value;
}

static void rules(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_writer *out = peernet_writer_new();
  peernet_reader reader, value;
  size_t bans;
  int64_t seconds;
  char guest[PEERNET_ID_SIZE];
  const char *allowed[1];
  peernet_mesh host, peer = opened(NULL);

  WORKS(peernet_mesh_id(peer, guest, sizeof guest));
  // A list with nobody on it lets nobody in.
  options.allow = allowed;
  host = opened(&options);
  FAILS(PEERNET_ERR_CONNECT, connects(peer, host));
  WORKS(peernet_mesh_allow(host, guest));
  WORKS(connects(peer, host));
  await(host, PEERNET_EVENT_CONNECTED);
  WORKS(peernet_mesh_disallow(host, guest));
  await(host, PEERNET_EVENT_DISCONNECTED);
  WORKS(peernet_mesh_close(host));

  allowed[0] = guest;
  options.allow_count = 1;
  host = opened(&options);
  WORKS(connects(peer, host));
  await(host, PEERNET_EVENT_CONNECTED);
  WORKS(peernet_mesh_ban(host, guest, 3600));
  await(host, PEERNET_EVENT_DISCONNECTED);
  WORKS(peernet_mesh_bans(host, out));
  reader = values(out);
  WORKS(peernet_reader_array(&reader, &bans));
  CHECK(bans == 1);
  WORKS(peernet_reader_find(&reader, "peer", &value));
  CHECK(reads(&value, guest));
  WORKS(peernet_reader_find(&reader, "until", &value));
  WORKS(peernet_reader_int(&value, &seconds));
  CHECK(seconds > 1700000000);
  WORKS(peernet_mesh_unban(host, guest));
  WORKS(peernet_writer_clear(out));
  WORKS(peernet_mesh_bans(host, out));
  reader = values(out);
  WORKS(peernet_reader_array(&reader, &bans));
  CHECK(bans == 0);
  WORKS(connects(peer, host));

  FAILS(PEERNET_ERR_ID, peernet_mesh_allow(host, "no id"));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_ban(host, NULL, 1));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_bans(host, NULL));
  WORKS(peernet_mesh_close(host));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_unban(host, guest));
  FAILS(PEERNET_ERR_CLOSED, peernet_mesh_bans(host, out));
  allowed[0] = NULL;
  refused(PEERNET_ERR_ARGUMENT, &options);
  allowed[0] = "no id";
  refused(PEERNET_ERR_ID, &options);
  options.allow = NULL;
  refused(PEERNET_ERR_ARGUMENT, &options);
  WORKS(peernet_mesh_close(peer));
  peernet_writer_free(out);
}

// Asked on the library's threads: what it finds wrong is told by the main one. One at a time comes.
struct door {
  int lets_in, asked, wrong, dropped;
  char last[PEERNET_ID_SIZE];
};

static int32_t admit(void *user, const peernet_candidate *candidate) {
  struct door *door = user;
  peernet_mesh mesh;
  strcpy(door->last, candidate->id);
  if (candidate->struct_size != sizeof *candidate || candidate->dialled != 0) door->wrong++;
  if (strcmp(candidate->ip, "127.0.0.1") != 0) door->wrong++;
  if (peernet_mesh_open(NULL, &mesh) != PEERNET_ERR_REENTRANT) door->wrong++;
  door->asked++;
  return door->lets_in;
}

static void drop(void *user) {
  struct door *door = user;
  door->dropped++;
}

static void admission(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  struct { peernet_options known; uint64_t later; } newer;
  struct door door = {0, 0, 0, 0, ""};
  peernet_mesh host, peer = opened(NULL);

  options.admit = admit;
  options.admit_user = &door;
  options.admit_drop = drop;
  host = opened(&options);
  FAILS(PEERNET_ERR_CONNECT, connects(peer, host));
  CHECK(count(host, "peers_refused") >= 1);
  door.lets_in = 1;
  WORKS(connects(peer, host));
  CHECK(door.asked >= 2 && door.wrong == 0 && strcmp(door.last, id_of(peer)) == 0);
  CHECK(door.dropped == 0);
  WORKS(peernet_mesh_close(host));
  CHECK(door.dropped == 1);

  // Dropped just as well where nothing comes of it.
  options.listen = "nowhere";
  refused(PEERNET_ERR_ADDRESS, &options);
  CHECK(door.dropped == 2);
  options.listen = NULL;
  options.encryption = "ws";
  refused(PEERNET_ERR_CONFIG, &options);
  CHECK(door.dropped == 3);
  options.encryption = NULL;
  FAILS(PEERNET_ERR_ARGUMENT, peernet_mesh_open(&options, NULL));
  CHECK(door.dropped == 4);
  memset(&newer, 0, sizeof newer);
  newer.known = options;
  newer.known.struct_size = sizeof newer;
  newer.later = 1;
  refused(PEERNET_ERR_UNSUPPORTED, &newer.known);
  CHECK(door.dropped == 5);
  options.admit = NULL;
  host = opened(&options);
  CHECK(door.dropped == 6);
  WORKS(connects(peer, host));
  WORKS(peernet_mesh_close(host));
  WORKS(peernet_mesh_close(peer));
  CHECK(door.dropped == 6);
}

static void settings(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  peernet_setting settings[2] = {{"max_frame", 2048}, {"connects_per_minute", -1}};
  peernet_writer *out = peernet_writer_new();
  peernet_reader reader;
  const char *name;
  size_t names;
  size_t len;
  uint8_t large[4096] = {0};
  peernet_mesh mesh;

  options.settings = settings;
  options.setting_count = 2;
  mesh = opened(&options);
  WORKS(peernet_writer_bytes(out, large, sizeof large));
  FAILS(PEERNET_ERR_TOO_LARGE,
        peernet_mesh_broadcast(mesh, peernet_writer_data(out), peernet_writer_len(out), 0, NULL));
  WORKS(peernet_mesh_close(mesh));

  settings[1].name = "no_such";
  refused(PEERNET_ERR_CONFIG, &options);
  CHECK(strstr(peernet_error_message(), "no_such") != NULL);
  settings[1].name = NULL;
  refused(PEERNET_ERR_ARGUMENT, &options);
  settings[1].name = "keep_alive";
  refused(PEERNET_ERR_CONFIG, &options);
  options.settings = NULL;
  refused(PEERNET_ERR_ARGUMENT, &options);
  options.setting_count = 0;

  // All there are, each of which can be set.
  WORKS(peernet_writer_clear(out));
  WORKS(peernet_settings(out));
  FAILS(PEERNET_ERR_ARGUMENT, peernet_settings(NULL));
  reader = values(out);
  WORKS(peernet_reader_array(&reader, &names));
  CHECK(names > 40);
  options.settings = settings;
  options.setting_count = 1;
  while (peernet_reader_text(&reader, &name, &len) == PEERNET_OK) {
    char text[64] = "";
    CHECK(len < sizeof text);
    memcpy(text, name, len);
    settings[0].name = text;
    settings[0].value = -1;
    // Not as unknown: some cannot be without a bound.
    if (peernet_mesh_open(&options, &mesh) == PEERNET_OK) {
      WORKS(peernet_mesh_close(mesh));
    } else {
      CHECK(strstr(peernet_error_message(), "no setting") == NULL);
    }
    names--;
  }
  CHECK(names == 0);
  peernet_writer_free(out);
}

static void others(void) {
  peernet_options options = PEERNET_OPTIONS_INIT;
  const char *origins[2] = {"https://example.org", "http://localhost:8000"};
  peernet_batch *batch;
  peernet_mesh first, second;

  options.sign = PEERNET_NO;
  options.compression = "";
  first = opened(&options);
  options.compression = "snappy, zlib";
  second = opened(&options);
  WORKS(connects(second, first));
  WORKS(peernet_mesh_broadcast(second, (const uint8_t *)"\x05", 1, PATIENCE, NULL));
  CHECK(next(first, PEERNET_EVENT_MESSAGE, &batch)->verified == 0);
  peernet_batch_free(batch);
  WORKS(peernet_mesh_close(first));
  WORKS(peernet_mesh_close(second));
  options.compression = "snappy,magic";
  refused(PEERNET_ERR_CONFIG, &options);
  options.compression = NULL;
  options.sign = 7;
  refused(PEERNET_ERR_ARGUMENT, &options);
  options.sign = PEERNET_DEFAULT;

  options.origins = origins;
  options.origin_count = 2;
  refused(PEERNET_ERR_CONFIG, &options);
  options.encryption = "ws";
  first = opened(&options);
  WORKS(peernet_mesh_close(first));
  origins[0] = "*";
  options.origin_count = 1;
  first = opened(&options);
  WORKS(peernet_mesh_close(first));
  options.origins = NULL;
  refused(PEERNET_ERR_ARGUMENT, &options);
  options.origin_count = 0;

  options.encryption = "wss";
  options.certificate = "no certificate";
  refused(PEERNET_ERR_ARGUMENT, &options);
  options.certificate_key = "no key";
  refused(PEERNET_ERR_CONFIG, &options);
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  folder = argv[1];
  identities();
  secrets();
  rules();
  admission();
  settings();
  others();
  return 0;
}
