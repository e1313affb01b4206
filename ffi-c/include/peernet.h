/*
 * peernet: peer-to-peer meshes and tables that programs of many languages share.
 *
 * Link with -lpeernet (pkg-config: peernet).
 *
 * Functions return a peernet_status: PEERNET_OK, or a negative error, of which peernet_error_message() has the
 * words. They may be called from any thread, also several at the same time; where it is otherwise, they say so.
 * Texts that go in end with a NUL and are UTF-8, and like everything that goes in are only read during the call.
 * Time-outs are in milliseconds: negative waits as long as it takes, 0 does not wait. Where something must be,
 * null is PEERNET_ERR_ARGUMENT. Functions that wait or receive give PEERNET_ERR_REENTRANT within callbacks.
 * Nothing here prints, and nothing ends the process.
 *
 * Structs begin with struct_size, and grow at their end: begin each with its initialiser, and a program that was
 * compiled with this header works with later libraries.
 *
 * Made from the library's sources; do not edit.
 */

#ifndef PEERNET_H
#define PEERNET_H

#include <stddef.h>
#include <stdint.h>

// The version of this header. Libraries with the same one, and any number of functions more, work with
// programs that were compiled with it.
#define PEERNET_ABI_VERSION 1

// A message: `kind`, `code`, `id`, `peer` (its author), `time`, `payload`, `verified`.
#define PEERNET_EVENT_MESSAGE 1

// A peer is a neighbour from now on: `peer`, `address` (null if it has none).
#define PEERNET_EVENT_CONNECTED 2

// A peer is no neighbour any more: `peer`, `reason`, `text`.
#define PEERNET_EVENT_DISCONNECTED 3

// Messages were dropped because the program read too slowly: `count`.
#define PEERNET_EVENT_LAGGED 4

// A peer takes nothing of what is sent to it: `peer`.
#define PEERNET_EVENT_SLOW_PEER 5

// A key of the table got another value: `key`, `payload` (the value, packed), `old` (the value before, null if
// there was none), `peer` (who set it), `time`. Once asked for with peernet_mesh_want.
#define PEERNET_EVENT_UPDATE 6

// A key of the table lost its value: `key`, `old`, `peer`, `time`. Once asked for.
#define PEERNET_EVENT_DELETE 7

// Another node asks something: `peer`, `payload`, `token` (to answer it by). Once asked for.
#define PEERNET_EVENT_REQUEST 8

// Somebody asks everyone something: `peer`, `key` (the question's type), `payload` (its data, bytes and not
// packed), `old` (its id, bytes), `count` (the links it came over before the last one), `verified`, `token`
// (to answer it by). Once asked for.
#define PEERNET_EVENT_SEARCH 9

// A link that is to be kept up could not be made, and will be tried again: `address`, `text` (why not), `count`
// (in how many milliseconds).
#define PEERNET_EVENT_REDIAL 10

// The store was damaged, and an empty one has its place: `address` (the path where the damaged one is), `text`.
#define PEERNET_EVENT_STORE_REPLACED 11

// Records in the store do not read: `count`, `text` (what is wrong with the first).
#define PEERNET_EVENT_RECORDS_DAMAGED 12

// Records cannot be written to the store: `text`.
#define PEERNET_EVENT_STORE_FAILED 13

// Another's write has taken the place of one of this node's in the table: `key`, `old` (what this node had
// written, packed; null if it had deleted the key), `peer` (who wrote what stands now).
#define PEERNET_EVENT_SUPERSEDED 14

// Changes of the table were dropped because the program read too slowly: `count`. Whoever keeps a copy of the
// table reads it anew.
#define PEERNET_EVENT_CHANGES_LAGGED 15

// A message to everyone, as `kind`.
#define PEERNET_BROADCAST 0

// A message to this node alone, as `kind`.
#define PEERNET_WHISPER 2

// Requests of others, for peernet_mesh_want.
#define PEERNET_WANT_REQUESTS 1

// Searches of others, for peernet_mesh_want.
#define PEERNET_WANT_SEARCHES 2

// Changes of the table, for peernet_mesh_want.
#define PEERNET_WANT_CHANGES 4

// Bytes that the text of any node's id takes at most, its NUL included.
#define PEERNET_ID_SIZE 129

// Bytes that the text of any address takes at most, its NUL included.
#define PEERNET_ADDRESS_SIZE 272

// As the library has it, in options with a choice.
#define PEERNET_DEFAULT 0

// Yes, in options with a choice.
#define PEERNET_YES 1

// No, in options with a choice.
#define PEERNET_NO -1

// Events that were taken out of a node's queue, in order. It belongs to the program, which frees it with
// peernet_batch_free. One thread at a time may use it, and it may outlive its node.
typedef struct peernet_batch peernet_batch;

// What a function returns: `PEERNET_OK`, or one of the negative `PEERNET_ERR_...`. Values never change and are
// never given to another error; a later library may return ones that this header does not know.
// `peernet_error_message` has the words.
typedef int32_t peernet_status;

// A node. Handles are numbers: 0 is none, none is ever used again, and one that was closed gives
// PEERNET_ERR_CLOSED wherever it is used. Any thread may use any handle at any time. A forked child gets
// PEERNET_ERR_FORKED for nodes that were open before the fork.
typedef uint64_t peernet_mesh;

// What a program is told. Which fields have a meaning depends on `type`; the others are 0 or null. It belongs to
// its batch, and all that it points to lives as long. Texts end with a NUL.
typedef struct {
  // The size of this struct, as the library has it: fields beyond are not there.
  size_t struct_size;
  // What happened: one of PEERNET_EVENT_... Pass over those that you do not know.
  uint32_t type;
  // Of a message: PEERNET_BROADCAST or PEERNET_WHISPER.
  uint32_t kind;
  // The code of a message: 0 or 2, or the user's own.
  uint64_t code;
  // When, in seconds since 1970 UTC by the author's clock.
  int64_t time;
  // How many.
  uint64_t count;
  // What an answer names.
  uint64_t token;
  // Whether it is proven that the author wrote it: 1 or 0.
  uint32_t verified;
  // 0.
  uint32_t reserved;
  // The id of a message: the same on every node.
  uint8_t id[32];
  // The id of a node.
  const char *peer;
  // An address, as host:port.
  const char *address;
  // A stable word for why.
  const char *reason;
  // Words for people.
  const char *text;
  // Packed values, one after the other: read them with a peernet_reader.
  const uint8_t *payload;
  // Bytes of `payload`.
  size_t payload_len;
  // A key of the table.
  const uint8_t *key;
  // Bytes of `key`.
  size_t key_len;
  // The value before, packed.
  const uint8_t *old;
  // Bytes of `old`.
  size_t old_len;
} peernet_event;

// What a node is opened with. Begin with PEERNET_OPTIONS_INIT, which is the default of everything, and set what
// is to be otherwise:
//
//     peernet_options options = PEERNET_OPTIONS_INIT;
//     options.listen = "0.0.0.0:4444";
//
// Null texts and zeros are defaults. Whatever it points to is only read, and only during the call.
typedef struct {
  // The size of this struct: set by the initialiser.
  size_t struct_size;
  // Where to listen, as host:port (127.0.0.1:0); port 0 takes a free one.
  const char *listen;
  // The address others are told (the one listened on).
  const char *advertise;
  // The subnet's name. Only nodes of the same subnet and encryption join each other.
  const char *subnet;
  // How links are encrypted: tls (the default), plaintext, ssl, ws or wss.
  const char *encryption;
  // Where the node is: wan, lan or local set bounds and time-outs for it.
  const char *preset;
  // A directory for what outlives the node, for this node alone.
  const char *data_dir;
  // Nodes to connect to from the start, `connect_count` texts host:port or id@host:port.
  const char *const *connect;
  // How many texts `connect` leads to.
  size_t connect_count;
  // Neighbours at most.
  size_t max_peers;
  // Events waiting for the program to read them, at most; beyond, messages are dropped, and
  // PEERNET_EVENT_LAGGED tells how many.
  size_t queue;
  // Largest frame sent or accepted, in bytes.
  size_t max_frame;
  // In a table: whether whoever sets a key has it for an hour (yes). PEERNET_NO for the later change to win.
  int32_t leases;
  // Whether what changes the node's data is done only when it is on the disk (no).
  int32_t durable;
} peernet_options;

// What became of a message that was sent. Begin with PEERNET_REPORT_INIT.
typedef struct {
  // The size of this struct: set by the initialiser.
  size_t struct_size;
  // The message's id: the same on every node.
  uint8_t id[32];
  // Into how many links' queues it went. 0 for a broadcast means that nobody will hear it.
  uint64_t links;
} peernet_report;

// It worked.
#define PEERNET_OK 0

// A text is no address.
#define PEERNET_ERR_ADDRESS -1

// An option cannot work.
#define PEERNET_ERR_CONFIG -2

// The data directory cannot be used.
#define PEERNET_ERR_DATA -3

// The store cannot be used.
#define PEERNET_ERR_STORE -4

// This library does not offer what was asked for.
#define PEERNET_ERR_UNSUPPORTED -5

// The listening socket could not be opened.
#define PEERNET_ERR_LISTEN -6

// No connection, or one that ended before the handshake was done.
#define PEERNET_ERR_CONNECT -7

// The addressee is no neighbour and could not be found.
#define PEERNET_ERR_UNREACHABLE -8

// The addressee is no neighbour, and anyone could answer in its name.
#define PEERNET_ERR_UNPROVEN -9

// The peer is not connected.
#define PEERNET_ERR_NOT_CONNECTED -10

// The time that was given is over.
#define PEERNET_ERR_TIMED_OUT -11

// A request will not be answered.
#define PEERNET_ERR_UNANSWERED -12

// Too much of this node's own is under way.
#define PEERNET_ERR_TOO_MANY -13

// Only `tls` subnets have words for it.
#define PEERNET_ERR_NEEDS_TLS -14

// What is found for a search goes back no more.
#define PEERNET_ERR_SEARCH_OVER -15

// A value has no form on the wire, or bytes are no values.
#define PEERNET_ERR_VALUE -16

// A message is larger than any frame may be, or a text longer than its place.
#define PEERNET_ERR_TOO_LARGE -17

// Links have no room, and waiting was not wanted.
#define PEERNET_ERR_FULL -18

// The same payload was broadcast too often within a few seconds, and waiting was not wanted.
#define PEERNET_ERR_REPEATED -19

// In a table, the key is another's for now.
#define PEERNET_ERR_LEASE -20

// In a table, a bound is reached.
#define PEERNET_ERR_TABLE_FULL -21

// In a table, nil is no value.
#define PEERNET_ERR_NIL -22

// In a table, only maps can be merged.
#define PEERNET_ERR_NOT_A_MAP -23

// In a table, the key is too long.
#define PEERNET_ERR_KEY -24

// A code that is not for users.
#define PEERNET_ERR_CODE -25

// Messages or changes were dropped because the program read too slowly.
#define PEERNET_ERR_LAGGED -26

// The handle is closed, or was never given.
#define PEERNET_ERR_CLOSED -27

// An argument has no meaning: null where something must be, text that is not UTF-8.
#define PEERNET_ERR_ARGUMENT -28

// A text is no id.
#define PEERNET_ERR_ID -29

// A text is no identity.
#define PEERNET_ERR_IDENTITY -30

// A text is no secret.
#define PEERNET_ERR_SECRET -31

// Bytes are no frame, or no message.
#define PEERNET_ERR_MESSAGE -32

// A value is of another type than the one asked for.
#define PEERNET_ERR_TYPE -33

// There is nothing more to read.
#define PEERNET_ERR_END -34

// The node has no table.
#define PEERNET_ERR_NO_TABLE -35

// Called from within a callback, where it would wait for itself.
#define PEERNET_ERR_REENTRANT -36

// Called in a process that was forked from the one that opened nodes.
#define PEERNET_ERR_FORKED -37

// A fault of the library; please report it with the message.
#define PEERNET_ERR_INTERNAL -38

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the ABI that the library has: `PEERNET_ABI_VERSION` of its own header. From any thread.
uint32_t peernet_abi_version(void);

// The library's version, as `1.2.3`. The text lives as long as the library. From any thread.
const char *peernet_version(void);

// Makes these kinds of event come, from now on: an or of PEERNET_WANT_... Without it requests of others are
// refused, as nobody would answer them. A node that has asked for requests answers each, or lets it go.
//
// Errors: PEERNET_ERR_NO_TABLE for changes of a node that has none, PEERNET_ERR_ARGUMENT for a kind that this
// library does not know, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_want(peernet_mesh mesh, uint32_t wanted);

// Waits for events, and takes those that wait, `most` at most, out of the node's queue.
//
// On success `*batch` has at least one, and is to be freed with peernet_batch_free; otherwise it is null.
// `timeout_ms` in milliseconds, negative waits as long as it takes, 0 not at all. Any number of threads may wait;
// each event goes to one of them. Batches of some dozens cost least for each.
//
// Errors: PEERNET_ERR_TIMED_OUT if nothing came in time, PEERNET_ERR_CLOSED when the node is closed, by whichever
// thread. Not within a callback.
peernet_status peernet_mesh_poll(peernet_mesh mesh,
                                 size_t most,
                                 int32_t timeout_ms,
                                 peernet_batch **batch);

// A file descriptor that is readable while events wait, and once the node is closed by another thread: for
// select, poll, epoll, and the loops built on them. When it is readable, call peernet_mesh_poll with a time-out
// of 0 until it gives PEERNET_ERR_TIMED_OUT, or once each time. It may be readable although another thread was
// faster.
//
// It belongs to the node: do not read, write or close it. It is gone when peernet_mesh_close returns, so take it
// out of your loop before. The same one is given every time.
//
// Errors: PEERNET_ERR_UNSUPPORTED where there are none (Windows), PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_poll_fd(peernet_mesh mesh,
                                    int32_t *fd);

// The number of events in a batch; 0 for null.
size_t peernet_batch_len(const peernet_batch *batch);

// An event of a batch, from 0; null behind the last one. It lives until the batch is freed.
const peernet_event *peernet_batch_at(const peernet_batch *batch, size_t at);

// Frees a batch, with all that its events point to. Null does no harm.
void peernet_batch_free(peernet_batch *batch);

// Opens a node of a mesh: it listens, and connects to those named in the options.
//
// `options` may be null for defaults. On success `*mesh` is its handle, to be closed with peernet_mesh_close;
// on failure it is 0. The first node starts the library's threads, the last one ends them.
//
// Errors: PEERNET_ERR_CONFIG, PEERNET_ERR_ADDRESS, PEERNET_ERR_LISTEN, PEERNET_ERR_DATA, PEERNET_ERR_STORE,
// PEERNET_ERR_UNSUPPORTED, PEERNET_ERR_ARGUMENT. Not within a callback.
peernet_status peernet_mesh_open(const peernet_options *options, peernet_mesh *mesh);

// Writes the node's id, base58 text with a NUL behind it, into `text`, which has room for `size` bytes;
// PEERNET_ID_SIZE are always enough. Errors: PEERNET_ERR_TOO_LARGE if they are not, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_id(peernet_mesh mesh, char *text, size_t size);

// Writes the address that others are told, as host:port. As peernet_mesh_id; PEERNET_ADDRESS_SIZE bytes are
// always enough.
peernet_status peernet_mesh_address(peernet_mesh mesh, char *text, size_t size);

// Writes the address that the node listens on, as host:port. As peernet_mesh_address.
peernet_status peernet_mesh_listening(peernet_mesh mesh, char *text, size_t size);

// Writes the id of the subnet, which nodes must have in common to join each other. As peernet_mesh_id.
peernet_status peernet_mesh_protocol(peernet_mesh mesh, char *text, size_t size);

// Connects to the node at `address`, host:port or id@host:port, and waits until the handshake is done. From
// then on the link is dialled again with back-off whenever it breaks, until peernet_mesh_disconnect or
// peernet_mesh_close.
//
// `id` may be null; else the id of the node that is there is written into its `size` bytes, of which
// PEERNET_ID_SIZE are always enough. `timeout_ms` in milliseconds, negative waits as long as it takes. When the
// time is over the attempt goes on, and PEERNET_EVENT_CONNECTED tells of a link that comes of it.
//
// Errors: PEERNET_ERR_CONNECT, PEERNET_ERR_ADDRESS, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_connect(peernet_mesh mesh,
                                    const char *address,
                                    int32_t timeout_ms,
                                    char *id,
                                    size_t size);

// Closes the link to a neighbour, and does not dial it again. Waits only for the node to take note, up to
// `timeout_ms` milliseconds. Errors: PEERNET_ERR_NOT_CONNECTED, PEERNET_ERR_ID, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_disconnect(peernet_mesh mesh, const char *peer, int32_t timeout_ms);

// Sends to every node of the subnet.
//
// `payload` is `len` bytes of packed values, one after the other, as a peernet_writer makes them. The bytes are
// copied. `timeout_ms` in milliseconds: while a neighbour's queue is full this waits so long; negative as long
// as it takes (a neighbour that takes nothing is closed in time), 0 not at all. `report` may be null.
//
// Errors, and then nothing was sent: PEERNET_ERR_VALUE, PEERNET_ERR_TOO_LARGE, PEERNET_ERR_FULL and
// PEERNET_ERR_REPEATED without waiting, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_broadcast(peernet_mesh mesh,
                                      const uint8_t *payload,
                                      size_t len,
                                      int32_t timeout_ms,
                                      peernet_report *report);

// As peernet_mesh_broadcast, under a code of the program's own, 0x31 or more: only nodes with a hook for it see
// it, all relay it. Errors besides: PEERNET_ERR_CODE.
peernet_status peernet_mesh_broadcast_as(peernet_mesh mesh,
                                         uint64_t code,
                                         const uint8_t *payload,
                                         size_t len,
                                         int32_t timeout_ms,
                                         peernet_report *report);

// Sends to one node, by its id. If it is no neighbour, the subnet is asked for its address and it is dialled,
// which `timeout_ms` bounds besides the node's own limit; with 0 only neighbours are reached.
//
// Payload, time-out and report as of peernet_mesh_broadcast. Errors besides: PEERNET_ERR_ID,
// PEERNET_ERR_UNREACHABLE, PEERNET_ERR_UNPROVEN where ids are not proven, PEERNET_ERR_NOT_CONNECTED with 0.
// After PEERNET_ERR_TIMED_OUT it may still be sent, once its addressee is found.
peernet_status peernet_mesh_send(peernet_mesh mesh,
                                 const char *peer,
                                 const uint8_t *payload,
                                 size_t len,
                                 int32_t timeout_ms,
                                 peernet_report *report);

// As peernet_mesh_send, under a code of the program's own, 0x31 or more. Errors besides: PEERNET_ERR_CODE.
peernet_status peernet_mesh_send_as(peernet_mesh mesh,
                                    const char *peer,
                                    uint64_t code,
                                    const uint8_t *payload,
                                    size_t len,
                                    int32_t timeout_ms,
                                    peernet_report *report);

// Answers the author of a message alone, wherever it is in the subnet. `event` is a message of a batch that was
// not freed yet. Everything else as of peernet_mesh_send.
peernet_status peernet_mesh_reply(peernet_mesh mesh,
                                  const peernet_event *event,
                                  const uint8_t *payload,
                                  size_t len,
                                  int32_t timeout_ms,
                                  peernet_report *report);

// Waits until everything that is to outlive the node and happened before is on the disk, up to `timeout_ms`
// milliseconds. Errors: PEERNET_ERR_STORE, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_flush(peernet_mesh mesh, int32_t timeout_ms);

// Leaves, and closes the handle: writes what is queued, within the node's own limit of some seconds, closes
// every link, writes to the disk what waits for it, and stops. Whoever waits with this handle on another thread
// is released with PEERNET_ERR_CLOSED. What was received and not read is lost.
//
// For every kind of node. Of several calls with one handle, one succeeds; the others, and all later ones, give
// PEERNET_ERR_CLOSED, and do no harm. Not within a callback.
peernet_status peernet_mesh_close(peernet_mesh mesh);

// The word for a status, the same in every language: `ok`, `closed`, `timed_out`; `unknown` for a number that
// is none. The text lives as long as the library. From any thread.
const char *peernet_status_name(peernet_status status);

// What the last function that failed on the calling thread has to say: what was tried, what is wrong with it,
// and what to do. Never null; empty if none has failed. Functions that work leave it as it is. The text belongs
// to the library and lives until the next function fails on this thread, or the thread ends.
const char *peernet_error_message(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PEERNET_H */

// Options with everything as by default.
#define PEERNET_OPTIONS_INIT \
    { sizeof(peernet_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0 }
// A report to be filled.
#define PEERNET_REPORT_INIT { sizeof(peernet_report), { 0 }, 0 }
