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

// The side of a connection that begins, for peernet_mesh_attach_fd.
#define PEERNET_DIALLER 1

// The side of a connection that is waited for, for peernet_mesh_attach_fd.
#define PEERNET_ACCEPTOR 2

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
// packed), `old` (its id, bytes), `count` (the links it came over before the last one), `kind` (the links it may go
// over), `verified`, `token` (to answer it by). Once asked for.
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

// Bytes that the text of an identity takes at most, its NUL included.
#define PEERNET_IDENTITY_SIZE 77

// Bytes that the text of a secret takes at most, its NUL included.
#define PEERNET_SECRET_SIZE 144

// Nothing is left to read.
#define PEERNET_TYPE_END 0

// Nil.
#define PEERNET_TYPE_NIL 1

// A boolean.
#define PEERNET_TYPE_BOOL 2

// An integer, -2^63 to 2^64-1.
#define PEERNET_TYPE_INT 3

// A number with a fraction.
#define PEERNET_TYPE_FLOAT 4

// Text, in UTF-8.
#define PEERNET_TYPE_TEXT 5

// Bytes.
#define PEERNET_TYPE_BYTES 6

// A list: its length, and so many values behind it.
#define PEERNET_TYPE_ARRAY 7

// A map: its length, and so many pairs of a key and a value behind it.
#define PEERNET_TYPE_MAP 8

// A sender that is written as text, as js2p and peernet do.
#define PEERNET_FORM_TEXT 0

// A sender that is written as bytes, as py2p does.
#define PEERNET_FORM_BYTES 1

// Events that were taken out of a node's queue, in order. It belongs to the program, which frees it with
// peernet_batch_free. One thread at a time may use it, and it may outlive its node.
typedef struct peernet_batch peernet_batch;

// Keys with their values, as they were at one moment. The list belongs to the program, which frees it with
// peernet_items_free, and nothing that happens to the table changes it. Any number of threads may read it.
typedef struct peernet_items peernet_items;

// Packed values: msgpack, one value after the other. Payloads are written with it, and functions that give
// values append them to one. It belongs to the program, which frees it with peernet_writer_free. One thread at
// a time may use it. What is appended is never a part of what is in it already: that would move meanwhile.
typedef struct peernet_writer peernet_writer;

// What a function returns: `PEERNET_OK`, or one of the negative `PEERNET_ERR_...`. Values never change and are
// never given to another error; a later library may return ones that this header does not know.
// `peernet_error_message` has the words.
typedef int32_t peernet_status;

// A node. Handles are numbers: 0 is none, none is ever used again, and one that was closed gives
// PEERNET_ERR_CLOSED wherever it is used. Any thread may use any handle at any time. A forked child gets
// PEERNET_ERR_FORKED for nodes that were open before the fork.
typedef uint64_t peernet_mesh;

// Whoever connects to a node or was dialled by it.
typedef struct {
  // The size of this struct, as the library has it: fields beyond are not there.
  size_t struct_size;
  // The id that it has proven.
  const char *id;
  // The IP address where it is; null where it has none.
  const char *ip;
  // Whether we dialled it: 1 or 0.
  uint32_t dialled;
  // 0.
  uint32_t reserved;
} peernet_candidate;

// Says who may join, for `admit` of peernet_options: not 0 to let it in. The candidate lives during the call.
typedef int32_t (*peernet_admit)(void *user, const peernet_candidate *candidate);

// Frees `user` of a callback, or null. It is called exactly once, when the callback will not be called any
// more, nor is being called: also if registering fails, and then before that returns. On whichever thread; what
// holds for callbacks holds for it.
typedef void (*peernet_drop)(void *user);

// A bound or a time-out by its name, for `settings` of peernet_options. Its size never changes.
typedef struct {
  // Which one.
  const char *name;
  // Times are in milliseconds, sizes in bytes, yes and no are 1 and 0, and a negative number is no bound where
  // there need not be one.
  int64_t value;
} peernet_setting;

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
  // The keys that the node's id is derived from, as peernet_identity_new writes them (those in the data
  // directory, or else new ones). This and the following, to `sign`, only with tls.
  const char *identity;
  // Instead: a file with them, which only its owner can read.
  const char *identity_file;
  // The secret that all nodes of the subnet share, as peernet_secret_new writes it: nobody joins without it
  // (none: whoever knows the subnet's name may join).
  const char *secret;
  // Instead: a file with it, which only its owner can read.
  const char *secret_file;
  // The ids of those who may join, `allow_count` texts (null: anyone may). If it is not null and `allow_count`
  // is 0, nobody may, until peernet_mesh_allow.
  const char *const *allow;
  // How many texts `allow` leads to.
  size_t allow_count;
  // Asked about whoever connects, or was dialled, and has proven its id, before anything is said to it: not 0
  // lets it in (null: not asked). It runs on the library's threads where links are made, on several at the same
  // time, and must be quick; what holds for hooks holds for it. Functions that open nodes take it over; to others
  // it is nothing.
  peernet_admit admit;
  // Handed to `admit`.
  void *admit_user;
  // Called once with `admit_user` when the node is closed, or cannot be opened; may be null.
  peernet_drop admit_drop;
  // For wss: the certificate to show, with those that lead from it to one that browsers trust, as PEM (one made
  // for this node alone, which no browser takes).
  const char *certificate;
  // The private key of `certificate`, as PEM.
  const char *certificate_key;
  // For ws and wss: the origins of the web pages that may connect, as browsers write them, `origin_count` texts
  // (none); a single * for all pages there are.
  const char *const *origins;
  // How many texts `origins` leads to.
  size_t origin_count;
  // Compression methods, best first, with commas between (snappy,zlib,gzip,bz2,lzma); empty for none.
  const char *compression;
  // Other bounds and time-outs, `setting_count` of them, in place of what the preset has. peernet_settings
  // lists their names.
  const peernet_setting *settings;
  // How many settings `settings` leads to.
  size_t setting_count;
  // Whether authors sign their broadcasts (yes). Without that, whoever is in the subnet can alter what it relays.
  // Nodes that differ never meet.
  int32_t sign;
  // 0.
  int32_t reserved;
} peernet_options;

// The peer book in the data directory of a node that is not running. A handle like that of a node, to be closed
// with peernet_book_close: until then the node cannot be opened.
typedef uint64_t peernet_book;

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

// Is told of events, for peernet_mesh_on_event. The event, and all that it points to, lives during the call.
typedef void (*peernet_callback)(void *user, const peernet_event *event);

// Sees a message first, for peernet_mesh_on_code: not 0 to take it. It is an event as peernet_mesh_poll gives
// it, and lives during the call.
typedef int32_t (*peernet_hook)(void *user, const peernet_event *message);

// What became of a message that was sent. Begin with PEERNET_REPORT_INIT.
typedef struct {
  // The size of this struct: set by the initialiser.
  size_t struct_size;
  // The message's id: the same on every node.
  uint8_t id[32];
  // Into how many links' queues it went. 0 for a broadcast means that nobody will hear it.
  uint64_t links;
} peernet_report;

// A search of this node's own, that is under way. A handle like that of a node, to be ended with
// peernet_search_end, also when its node is closed.
typedef uint64_t peernet_search;

// A question for everyone. Begin with PEERNET_QUERY_INIT. What it points to is only read during the call.
typedef struct {
  // The size of this struct: set by the initialiser.
  size_t struct_size;
  // The question's type, up to 64 bytes: by it others know whether they have an answer.
  const void *kind;
  // Bytes of `kind`.
  size_t kind_len;
  // The question, up to 1,024 bytes.
  const void *data;
  // Bytes of `data`.
  size_t data_len;
  // Its id, up to 64 bytes, which means nothing to nodes; null for a random one.
  const void *id;
  // Bytes of `id`.
  size_t id_len;
  // Over how many links it may go, 1 to 15: with 1 only neighbours are asked. 0 for 15.
  uint32_t limit;
  // As if it had gone over so many links already (0).
  uint32_t hops;
} peernet_query;

// Something that was found. It belongs to the program, which frees it with peernet_row_free, and all that it points
// to lives as long.
typedef struct {
  // The size of this struct, as the library has it: fields beyond are not there.
  size_t struct_size;
  // What was found.
  const uint8_t *data;
  // Bytes of `data`.
  size_t data_len;
  // Its type: mostly that of the question.
  const uint8_t *kind;
  // Bytes of `kind`.
  size_t kind_len;
  // Its id, which whoever found it made.
  const uint8_t *id;
  // Bytes of `id`.
  size_t id_len;
  // The id of the node that found it.
  const char *peer;
  // The links that the question might go over.
  uint64_t limit;
  // The links that it came over before the last one: 0 from a neighbour. Nobody can prove that.
  uint64_t hops;
  // Whether it is proven that the peer found it, and what: 1 or 0. If not, any node on the way may have altered
  // it or made it up.
  uint32_t verified;
  // 0.
  uint32_t reserved;
} peernet_row;

// The node of a table: keys and values that every node of a subnet holds. Reading is local: it tells what this
// node has heard so far. A change is made here at once, and goes to everyone else. Whoever joins is given what
// the others have. With leases, a key is its owner's for an hour from when it was last set.
//
// It is a mesh too: wherever a peernet_mesh is asked for, it can be given, also to be closed. Changes by anyone
// come as events, once asked for with peernet_mesh_want(table, PEERNET_WANT_CHANGES).
//
// Keys are bytes, and so is text; values are one packed value each, as a peernet_writer makes them.
typedef peernet_mesh peernet_table;

// A key and its value. It belongs to its list, and all that it points to lives as long.
typedef struct {
  // The size of this struct, as the library has it: fields beyond are not there.
  size_t struct_size;
  // The key. No NUL stands behind it.
  const char *key;
  // Bytes of `key`.
  size_t key_len;
  // The value, packed: read it with a peernet_reader.
  const uint8_t *value;
  // Bytes of `value`.
  size_t value_len;
} peernet_item;

// A place in packed values. It is a plain struct of the program's, made by peernet_reader_init and copied at
// will; it owns nothing, and is good for as long as the bytes are. Its size never changes.
typedef struct {
  // The values.
  const uint8_t *data;
  // Bytes of `data`.
  size_t len;
  // Where the next value begins.
  size_t at;
} peernet_reader;

// A message on the wire. Begin with PEERNET_MESSAGE_INIT.
typedef struct {
  // The size of this struct: set by the initialiser.
  size_t struct_size;
  // Its type: 0 a broadcast, 1 about the link, 2 a whisper.
  uint64_t type;
  // When, by the author's clock: seconds since 1970 UTC, in tls subnets microseconds.
  int64_t time;
  // The author's id, text without a NUL.
  const uint8_t *sender;
  // Bytes of `sender`.
  size_t sender_len;
  // How the author's id is written: PEERNET_FORM_TEXT or PEERNET_FORM_BYTES.
  uint32_t sender_form;
  // Whether it carries its author's seal: 1 or 0. Not looked at by peernet_encode.
  uint32_t sealed;
  // Packed values, one after the other, of which the first is the code.
  const uint8_t *payload;
  // Bytes of `payload`.
  size_t payload_len;
  // Its id. Not looked at by peernet_encode.
  uint8_t id[32];
} peernet_message;

// How frames are made up. Begin with PEERNET_CODEC_INIT; null where one is wanted is the same.
typedef struct {
  // The size of this struct: set by the initialiser.
  size_t struct_size;
  // Codes of the compression methods that both sides have (16 bz2, 17 gzip, 18 lzma, 19 zlib, 32 snappy), in
  // order: the first is used for writing, all are tried for reading. Unknown ones are passed over.
  const uint8_t *compression;
  // Bytes of `compression`.
  size_t compression_len;
  // The largest frame, in bytes (0: 16 MiB). A compressed one may not unpack to more.
  size_t max_frame;
  // For writing: the 32 bytes of the secret Ed25519 key that seals the message; null for no seal.
  const uint8_t *secret_key;
  // For reading: the protocol id of the subnet, if its authors sign; null if not.
  const char *sealed_protocol;
} peernet_codec;

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

// There is nothing to read: no more, or nothing of that name.
#define PEERNET_ERR_END -34

// The node has no table.
#define PEERNET_ERR_NO_TABLE -35

// Called from within a callback, where it would wait for itself.
#define PEERNET_ERR_REENTRANT -36

// Called in a process that was forked from the one that opened nodes.
#define PEERNET_ERR_FORKED -37

// A fault of the library; please report it with the message.
#define PEERNET_ERR_INTERNAL -38

// Someone else reads the node's events already: a callback, or another thread.
#define PEERNET_ERR_BUSY -39

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the ABI that the library has: `PEERNET_ABI_VERSION` of its own header. From any thread.
uint32_t peernet_abi_version(void);

// The library's version, as `1.2.3`. The text lives as long as the library. From any thread.
const char *peernet_version(void);

// Makes a link of what the program brings in place of a TCP connection, and waits for the handshake: `input` is read
// from and `output` written to. They are the same number for a socket or a serial line, and different ones for two
// pipes, such as the standard input and output of another process. A link that breaks is not made again.
//
// Both belong to the library from now on, whatever this returns: it makes them non-blocking, and closes them at the
// end. Give it a duplicate (dup) of what you want to keep. What cannot be waited for, such as a file, is refused.
//
// `role`: the other end must be a node of the same subnet that attaches it too, or anything that passes the bytes on
// to the port of one, and one of the two is the PEERNET_DIALLER, the other the PEERNET_ACCEPTOR. The whole transport of
// the subnet runs over it, such as TLS.
//
// `id` and `timeout_ms` as of peernet_mesh_connect, but when the time is over before the handshake of TLS or
// WebSocket, the connection is given up. Errors: PEERNET_ERR_CONNECT, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_ARGUMENT if
// one is no open descriptor, PEERNET_ERR_CLOSED. Not on Windows.
peernet_status peernet_mesh_attach_fd(peernet_mesh mesh,
                                      int32_t input,
                                      int32_t output,
                                      int32_t role,
                                      int32_t timeout_ms,
                                      char *id,
                                      size_t size);

// Saves the address of a node of the subnet, host:port: it is dialled when links are wanted, and known until it is
// removed. With `options.data_dir` it is known after a restart too, as are all that the node had a link to.
//
// When there is no more room for addresses, it takes the place of another, at worst of one that was saved before.
// Errors: PEERNET_ERR_ADDRESS if it is none, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_save(peernet_mesh mesh,
                                 const char *address);

// Removes an address: it is not dialled any more unless the program asks for it, and for a day it is not taken
// from peers either. A link that there is stays. Errors as of peernet_mesh_save.
peernet_status peernet_mesh_remove(peernet_mesh mesh,
                                   const char *address);

// Appends all known addresses with what came of them, in order, to `known`: an array of maps with `address`
// (text); `id` (text: who is there, proven or by what others say); the integers `connections_ok` and
// `connections_failed` (those that came as far as a handshake, and those that did not), `addresses_received` and
// `addresses_sent` (that this peer named to us, and we to it), `last_seen` (when it was a neighbour last, in
// seconds since 1970 UTC); `latency_ms` (a float: from the last dial to the end of its handshake); `saved` (a
// boolean: by the program); `named_by` (text: who named it first). What is not known is nil.
//
// Errors: PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_known(peernet_mesh mesh,
                                  peernet_writer *known);

// Appends what is known of an address to `stats`: a map as of peernet_mesh_known. Errors: PEERNET_ERR_END if
// nothing is known, PEERNET_ERR_ADDRESS if it is none, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_peer_stats(peernet_mesh mesh, const char *address, peernet_writer *stats);

// Appends the neighbours as peernet_mesh_connect takes them to `connections`: an array of texts id@host:port, or
// the id alone of one that has no address. peernet_mesh_peers says more. Errors: PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_connections(peernet_mesh mesh,
                                        peernet_writer *connections);

// Opens the peer book in the data directory of the node of a mesh that these options describe, while it is not
// running, and without starting it. Besides `data_dir`, the subnet and the encryption say which node's it is. On
// success `*book` is its handle, otherwise 0.
//
// Errors: PEERNET_ERR_CONFIG without a data directory, PEERNET_ERR_DATA and PEERNET_ERR_STORE if it cannot be used,
// as while the node is running.
peernet_status peernet_mesh_book(const peernet_options *options,
                                 peernet_book *book);

// As peernet_mesh_book, of the node of a table. Whether it has leases also says which node's it is.
peernet_status peernet_table_book(const peernet_options *options, peernet_book *book);

// Saves an address, as peernet_mesh_save; it is on the disk when this returns. Errors: PEERNET_ERR_ADDRESS if it is
// none, PEERNET_ERR_STORE if it cannot be written, PEERNET_ERR_CLOSED.
peernet_status peernet_book_save(peernet_book book,
                                 const char *address);

// Removes an address, as peernet_mesh_remove; that is on the disk when this returns. Errors as of
// peernet_book_save.
peernet_status peernet_book_remove(peernet_book book, const char *address);

// Appends all known addresses, as peernet_mesh_known.
peernet_status peernet_book_known(peernet_book book, peernet_writer *known);

// Appends what is known of an address, as peernet_mesh_peer_stats.
peernet_status peernet_book_peer_stats(peernet_book book, const char *address, peernet_writer *stats);

// Closes a peer book, whose node can be opened from now on. Of several calls with one handle, one succeeds; the
// others, and all later ones, give PEERNET_ERR_CLOSED.
peernet_status peernet_book_close(peernet_book book);

// Has `callback` called for every event from now on, in place of peernet_mesh_poll: in order, never two at once,
// all on one thread of this node's, which has the name peernet-events. It stays until the node is closed.
//
// While it runs, further events wait in the node's queue, with its bound: a slow callback sees
// PEERNET_EVENT_LAGGED as a slow reader does. In a callback everything works that neither waits nor receives, such
// as sending with a time-out of 0; everything else is PEERNET_ERR_REENTRANT, peernet_mesh_close too. An exception
// must not leave it.
//
// peernet_mesh_close on another thread waits for the callback that runs, and then for `drop`; so do not hold a lock
// there that the callback takes. Events that still wait are lost, as they are for those that poll.
//
// `user` is handed to `callback`, and to `drop` at the end (see there); `drop` may be null. Errors, of all after
// `drop` has run: PEERNET_ERR_BUSY if there is a callback already or another thread is polling just now,
// PEERNET_ERR_ARGUMENT, PEERNET_ERR_CLOSED. From then on peernet_mesh_poll and peernet_mesh_poll_fd give
// PEERNET_ERR_BUSY.
peernet_status peernet_mesh_on_event(peernet_mesh mesh,
                                     peernet_callback callback,
                                     void *user,
                                     peernet_drop drop);

// Has `hook` see every message with this code first: it takes the message by returning anything but 0, and others
// go on to whoever reads events. For the codes 0 (broadcasts) and 2 (messages to one node), and from 0x31 on, which
// only hooks see. A new hook replaces the old one of its code, and null ends it.
//
// It runs on the library's threads where messages are read, on several at the same time if there are several links,
// and they wait for it: it must be quick. In it everything works that neither waits nor receives, such as
// peernet_mesh_reply with a time-out of 0; everything else is PEERNET_ERR_REENTRANT, peernet_mesh_close too. An
// exception must not leave it.
//
// `user` is handed to `hook`, and to `drop` at the end (see there), which is when it was replaced or the node was
// closed, as soon as no call of it runs; `drop` may be null. Errors, of all after `drop` has run:
// PEERNET_ERR_CODE, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_on_code(peernet_mesh mesh,
                                    uint64_t code,
                                    peernet_hook hook,
                                    void *user,
                                    peernet_drop drop);

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
// thread, PEERNET_ERR_BUSY if events go to a callback. Not within a callback.
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
// Errors: PEERNET_ERR_UNSUPPORTED where there are none (Windows), PEERNET_ERR_BUSY if events go to a callback,
// PEERNET_ERR_CLOSED.
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

// Appends the neighbours, the nodes that a link leads to directly, to `peers`: an array of maps with `id` (text),
// `address` (text, or nil if it has none) and `outgoing` (a boolean: whether we dialled it).
// Errors: PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_peers(peernet_mesh mesh,
                                  peernet_writer *peers);

// Appends everything that the node counts to `stats`: a map of names and integers. Nothing is dropped without being
// counted. Errors: PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_stats(peernet_mesh mesh,
                                  peernet_writer *stats);

// One of what the node counts, by its name in peernet_mesh_stats. Errors: PEERNET_ERR_ARGUMENT if nothing of that name
// is counted, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_stat(peernet_mesh mesh,
                                 const char *name,
                                 uint64_t *value);

// Waits until everything that is to outlive the node and happened before is on the disk, up to `timeout_ms`
// milliseconds. Errors: PEERNET_ERR_STORE, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_flush(peernet_mesh mesh, int32_t timeout_ms);

// Leaves, and closes the handle: writes what is queued, within the node's own limit of some seconds, closes
// every link, writes to the disk what waits for it, and stops. Whoever waits with this handle on another thread
// is released with PEERNET_ERR_CLOSED. What was received and not read is lost. A callback that runs is waited for,
// and none runs any more when this returns; hooks that still run end by themselves.
//
// For every kind of node. Of several calls with one handle, one succeeds; the others, and all later ones, give
// PEERNET_ERR_CLOSED, and do no harm. Not within a callback.
peernet_status peernet_mesh_close(peernet_mesh mesh);

// Appends the names of all settings that `settings` of peernet_options can have, an array of texts. They are those of
// the library's Rust documentation (`Config`), where each is explained. Needs no node.
peernet_status peernet_settings(peernet_writer *names);

// Asks one node something, waits for its answer, and appends that to `answer`: packed values, one after the other.
// A node that is no neighbour is found first, as peernet_mesh_send does. The answer is that node's.
//
// `payload` is `len` bytes of packed values, and so is the answer. `timeout_ms` in milliseconds, negative waits as
// long as it takes, 0 is too short for any answer. The request is sent once: when this fails, its addressee may
// have read it.
//
// Errors: PEERNET_ERR_TIMED_OUT; PEERNET_ERR_UNANSWERED as soon as it is known that no answer will come, as when
// the addressee's program takes no requests, let this one go, or left; PEERNET_ERR_UNREACHABLE if it is not found;
// PEERNET_ERR_TOO_MANY if too many are under way; PEERNET_ERR_NEEDS_TLS in other subnets; PEERNET_ERR_ID,
// PEERNET_ERR_VALUE, PEERNET_ERR_TOO_LARGE, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_request(peernet_mesh mesh,
                                    const char *peer,
                                    const uint8_t *payload,
                                    size_t len,
                                    int32_t timeout_ms,
                                    peernet_writer *answer);

// Answers a request of another node: `token` is that of its PEERNET_EVENT_REQUEST, and good until it is used, or
// the node is closed, also when the batch is long freed. `payload` is `len` bytes of packed values. While a
// neighbour's queue is full this waits up to `timeout_ms` milliseconds.
//
// Errors: PEERNET_ERR_UNANSWERED if there is no such request any more, and PEERNET_ERR_VALUE, after which it still
// waits. After all others it is used up, and its asker is told that no answer will come: PEERNET_ERR_NOT_CONNECTED
// if that is no neighbour any more, PEERNET_ERR_TOO_LARGE, PEERNET_ERR_TIMED_OUT. PEERNET_ERR_CLOSED. Whether the
// asker still waits is not known.
peernet_status peernet_mesh_respond(peernet_mesh mesh,
                                    uint64_t token,
                                    const uint8_t *payload,
                                    size_t len,
                                    int32_t timeout_ms);

// Lets a request of another node go, which tells its asker at once that no answer will come. Errors:
// PEERNET_ERR_UNANSWERED if there is no such request any more, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_refuse(peernet_mesh mesh, uint64_t token);

// Asks everyone something: a question of this type, up to 64 bytes, with this data, up to 1,024. On success
// `*search` is its handle, from which peernet_search_next gives what is found for it, for as long as the node's
// bound for searches goes on (10 s); to be ended with peernet_search_end. Otherwise it is 0.
//
// It goes from neighbour to neighbour, and what is found comes back the same way. A link that breaks loses what is
// on the way, and nobody is told: whoever needs to be sure asks again.
//
// Errors: PEERNET_ERR_NEEDS_TLS where 0.7 is spoken, PEERNET_ERR_CONFIG if a part of it is too long,
// PEERNET_ERR_TOO_MANY if there were too many within a second, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_search(peernet_mesh mesh,
                                   const void *kind,
                                   size_t kind_len,
                                   const void *data,
                                   size_t data_len,
                                   peernet_search *search);

// As peernet_mesh_search, with everything that can be said about a question.
peernet_status peernet_mesh_announce(peernet_mesh mesh, const peernet_query *query, peernet_search *search);

// Gives the next row that is found, for which it waits up to `timeout_ms` milliseconds, negative until the search
// is over, 0 not at all. On success `*row` is to be freed with peernet_row_free; otherwise it is null. Any number
// of threads may wait; each row goes to one of them.
//
// Errors: PEERNET_ERR_TIMED_OUT if nothing was found in time, PEERNET_ERR_END when the search is over or its node
// closed, PEERNET_ERR_CLOSED once it was ended, by whichever thread.
peernet_status peernet_search_next(peernet_search search,
                                   int32_t timeout_ms,
                                   const peernet_row **row);

// Frees a row, with all that it points to. Null does no harm.
void peernet_row_free(const peernet_row *row);

// Ends a search, and closes its handle. Whoever waits with it on another thread is released with
// PEERNET_ERR_CLOSED. Of several calls with one handle, one succeeds; the others give PEERNET_ERR_CLOSED.
peernet_status peernet_search_end(peernet_search search);

// Sends something that was found, up to 1,024 bytes, back to whoever asked: `token` is that of a
// PEERNET_EVENT_SEARCH, also when the batch is long freed. Up to eight times for one question. Whether it arrives is
// not known: a link on the way may break.
//
// Errors: PEERNET_ERR_SEARCH_OVER if it is too late, PEERNET_ERR_NOT_CONNECTED if the neighbour that brought the
// question is gone, PEERNET_ERR_TOO_MANY if more was found than may be, PEERNET_ERR_CONFIG if it is too long,
// PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_found(peernet_mesh mesh,
                                  uint64_t token,
                                  const void *data,
                                  size_t len);

// As peernet_mesh_found, with an id and a type of its own, up to 64 bytes each, in place of a random id and the
// question's type.
peernet_status peernet_mesh_found_as(peernet_mesh mesh,
                                     uint64_t token,
                                     const void *id,
                                     size_t id_len,
                                     const void *kind,
                                     size_t kind_len,
                                     const void *data,
                                     size_t len);

// The word for a status, the same in every language: `ok`, `closed`, `timed_out`; `unknown` for a number that
// is none. The text lives as long as the library. From any thread.
const char *peernet_status_name(peernet_status status);

// What the last function that failed on the calling thread has to say: what was tried, what is wrong with it,
// and what to do. Never null; empty if none has failed. Functions that work leave it as it is. The text belongs
// to the library and lives until the next function fails on this thread, or the thread ends.
const char *peernet_error_message(void);

// Opens the node of a table, as peernet_mesh_open that of a mesh. Nodes with and without leases never meet
// (`options.leases`).
peernet_status peernet_table_open(const peernet_options *options, peernet_table *table);

// Appends the value of a key, packed, to `value`. The key is `key_len` bytes; of a text, without its NUL.
//
// Errors: PEERNET_ERR_END if the key has no value, PEERNET_ERR_NO_TABLE for a mesh without a table,
// PEERNET_ERR_CLOSED.
peernet_status peernet_table_get(peernet_table table, const void *key, size_t key_len, peernet_writer *value);

// Whether a key has a value: 1 or 0. Errors: PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED.
peernet_status peernet_table_contains(peernet_table table,
                                      const void *key,
                                      size_t key_len,
                                      int32_t *contains);

// Writes the id of who set a key last, with a NUL, into the `size` bytes of `peer`; PEERNET_ID_SIZE are always
// enough. Errors: PEERNET_ERR_TOO_LARGE if they are not; as of peernet_table_get.
peernet_status peernet_table_owner(peernet_table table,
                                   const void *key,
                                   size_t key_len,
                                   char *peer,
                                   size_t size);

// When a key was set last, in seconds since 1970 UTC by its owner's clock. Errors as of peernet_table_get.
peernet_status peernet_table_time(peernet_table table, const void *key, size_t key_len, int64_t *time);

// For how many milliseconds nobody but its owner can change a key; 0 if anyone can. Errors as of
// peernet_table_get.
peernet_status peernet_table_lease(peernet_table table, const void *key, size_t key_len, uint64_t *left_ms);

// The number of keys that have a value. Errors: PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED.
peernet_status peernet_table_len(peernet_table table, size_t *len);

// Gives all keys with their values, as they are at one moment and in no particular order. On success `*items` is
// to be freed with peernet_items_free; otherwise it is null.
//
//     peernet_items *items;
//     if (peernet_table_items(table, &items) == PEERNET_OK)
//       for (size_t i = 0; i < peernet_items_len(items); i++) {
//         const peernet_item *item = peernet_items_at(items, i);
//         printf("%.*s\n", (int)item->key_len, item->key);
//       }
//     peernet_items_free(items);
//
// Errors: PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED.
peernet_status peernet_table_items(peernet_table table,
                                   peernet_items **items);

// The number of keys in a list; 0 for null.
size_t peernet_items_len(const peernet_items *items);

// A key of a list with its value, from 0; null behind the last one. It lives until the list is freed.
const peernet_item *peernet_items_at(const peernet_items *items, size_t at);

// Frees a list, with all that its items point to. Null does no harm.
void peernet_items_free(peernet_items *items);

// Gives a key a value, for all nodes.
//
// `value` is `value_len` bytes, one packed value. `timeout_ms` in milliseconds: while a neighbour's queue is full
// this waits so long; negative as long as it takes, 0 not at all. With `options.durable` it also waits until the
// change is on the disk. `report` may be null.
//
// Errors, and then nothing has changed: PEERNET_ERR_LEASE while the key is another's, PEERNET_ERR_TABLE_FULL at a
// bound of the table, PEERNET_ERR_NIL for nil, PEERNET_ERR_KEY for a key that is too long, PEERNET_ERR_TOO_LARGE,
// PEERNET_ERR_VALUE if the bytes are not one value, PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED. After
// PEERNET_ERR_TIMED_OUT nothing has changed either, but with `options.durable` it may have, and not be on the disk
// yet; and so after PEERNET_ERR_STORE.
peernet_status peernet_table_set(peernet_table table,
                                 const void *key,
                                 size_t key_len,
                                 const uint8_t *value,
                                 size_t value_len,
                                 int32_t timeout_ms,
                                 peernet_report *report);

// Sets many keys: `map` is `len` bytes, one packed map, whose keys are texts or bytes. They are set in its order,
// up to the first error, of which peernet_error_message tells more. Time-out and errors as of peernet_table_set,
// for all of them together; PEERNET_ERR_TYPE if it is no such map, and then none is set.
peernet_status peernet_table_update(peernet_table table,
                                    const uint8_t *map,
                                    size_t len,
                                    int32_t timeout_ms);

// Merges the entries of a packed map into the map that is the key's value, one level deep; a key without a value
// gets the map. Everything as of peernet_table_set, and PEERNET_ERR_NOT_A_MAP if either of the two is no map.
peernet_status peernet_table_delta(peernet_table table,
                                   const void *key,
                                   size_t key_len,
                                   const uint8_t *map,
                                   size_t map_len,
                                   int32_t timeout_ms,
                                   peernet_report *report);

// Takes a key's value away, for all nodes. PEERNET_ERR_END if it has none. Everything else as of
// peernet_table_set.
peernet_status peernet_table_delete(peernet_table table,
                                    const void *key,
                                    size_t key_len,
                                    int32_t timeout_ms,
                                    peernet_report *report);

// Takes a key's value away, and appends it, packed, to `value`. Everything as of peernet_table_delete.
peernet_status peernet_table_pop(peernet_table table,
                                 const void *key,
                                 size_t key_len,
                                 int32_t timeout_ms,
                                 peernet_writer *value);

// Takes the value of some key away that this node may change, and gives both: on success `*item` is a list of one,
// to be freed with peernet_items_free; otherwise it is null. PEERNET_ERR_END if there is no such key. Everything
// else as of peernet_table_set.
peernet_status peernet_table_popitem(peernet_table table,
                                     int32_t timeout_ms,
                                     peernet_items **item);

// Makes new keys for a node, of random numbers of the system, and writes them into the `size` bytes of `identity`;
// PEERNET_IDENTITY_SIZE are always enough. Whoever has them is that node: keep them to yourself
// (peernet_write_private). Errors: PEERNET_ERR_TOO_LARGE. Needs no node.
peernet_status peernet_identity_new(char *identity,
                                    size_t size);

// Writes the public key of an identity, 32 bytes, to `public_key`: others may know it, and peernet_key_id has the id
// that it leads to. Errors: PEERNET_ERR_IDENTITY. Needs no node.
peernet_status peernet_identity_key(const char *identity,
                                    uint8_t *public_key);

// Writes the id that the node with an identity has in a tls subnet, into the `size` bytes of `id`; PEERNET_ID_SIZE
// are always enough. `protocol` is the subnet's id (peernet_mesh_protocol, peernet_protocol_id).
// Errors: PEERNET_ERR_IDENTITY, PEERNET_ERR_ID if `protocol` is none, PEERNET_ERR_TOO_LARGE. Needs no node.
peernet_status peernet_identity_id(const char *identity,
                                   const char *protocol,
                                   char *id,
                                   size_t size);

// Writes the node's identity, as peernet_identity_new does: with `identity` of peernet_options, a node has the same
// id again. Errors besides: PEERNET_ERR_NEEDS_TLS in subnets where nodes have none, PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_identity(peernet_mesh mesh,
                                     char *identity,
                                     size_t size);

// Makes a new secret for a subnet, of random numbers of the system, and writes it into the `size` bytes of
// `secret`; PEERNET_SECRET_SIZE are always enough. All nodes of the subnet are opened with it; keep it from everyone
// else (peernet_write_private). Errors: PEERNET_ERR_TOO_LARGE. Needs no node.
peernet_status peernet_secret_new(char *secret,
                                  size_t size);

// Writes the secret that `len` bytes are, 16 to 64 random ones, never a password. As peernet_secret_new.
// Errors besides: PEERNET_ERR_SECRET.
peernet_status peernet_secret_of_bytes(const uint8_t *data, size_t len, char *secret, size_t size);

// Writes a text, such as an identity or a secret, to a new file that only its owner can read: for `identity_file`
// and `secret_file` of peernet_options. Waits for the disk. Errors: PEERNET_ERR_DATA if there is a file of that name,
// or it cannot be written. Needs no node.
peernet_status peernet_write_private(const char *path,
                                     const char *text);

// Lets a node join, by its id, besides those on the list (`allow` of peernet_options). The first on it closes the
// subnet to all others, and their links with it. Never waits.
// Errors: PEERNET_ERR_ID, PEERNET_ERR_CONFIG in subnets that prove no ids (all but tls), PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_allow(peernet_mesh mesh,
                                  const char *peer);

// Takes a node off the list of those that may join, and closes its links. The list stays: with nobody on it, nobody
// may join. As peernet_mesh_allow.
peernet_status peernet_mesh_disallow(peernet_mesh mesh,
                                     const char *peer);

// Lets a node neither join nor be heard for `seconds`: its links are closed, its broadcasts neither told nor relayed.
// A new ban replaces the old. With a data directory it holds after a restart too; peernet_mesh_flush waits until it is
// written. As peernet_mesh_allow.
peernet_status peernet_mesh_ban(peernet_mesh mesh,
                                const char *peer,
                                uint64_t seconds);

// Ends a ban. As peernet_mesh_allow.
peernet_status peernet_mesh_unban(peernet_mesh mesh, const char *peer);

// Appends the bans in force to `bans`: an array of maps with `peer` (text) and `until` (seconds since 1970 UTC).
// Errors: PEERNET_ERR_CLOSED.
peernet_status peernet_mesh_bans(peernet_mesh mesh,
                                 peernet_writer *bans);

// A new writer, with nothing in it. Never null.
peernet_writer *peernet_writer_new(void);

// Frees a writer and the bytes in it. Null does no harm.
void peernet_writer_free(peernet_writer *writer);

// Empties a writer, whose memory it keeps for what comes next.
peernet_status peernet_writer_clear(peernet_writer *writer);

// The bytes that were written, good until the writer is written to, cleared or freed. Null for null.
const uint8_t *peernet_writer_data(const peernet_writer *writer);

// How many bytes were written; 0 for null.
size_t peernet_writer_len(const peernet_writer *writer);

// Appends nil.
peernet_status peernet_writer_nil(peernet_writer *writer);

// Appends a boolean: false for 0, and true for all else.
peernet_status peernet_writer_bool(peernet_writer *writer, int32_t value);

// Appends an integer.
peernet_status peernet_writer_int(peernet_writer *writer, int64_t value);

// Appends an integer that is not negative.
peernet_status peernet_writer_uint(peernet_writer *writer, uint64_t value);

// Appends a number with a fraction.
peernet_status peernet_writer_float(peernet_writer *writer, double value);

// Appends a text that ends with a NUL. PEERNET_ERR_ARGUMENT if it is not UTF-8.
peernet_status peernet_writer_text(peernet_writer *writer, const char *text);

// Appends a text of `len` bytes, which may have NULs in it. PEERNET_ERR_ARGUMENT if it is not UTF-8.
peernet_status peernet_writer_text_len(peernet_writer *writer, const char *text, size_t len);

// Appends `len` bytes as one value.
peernet_status peernet_writer_bytes(peernet_writer *writer, const uint8_t *data, size_t len);

// Begins an array: the next `count` values are in it. Whoever sends too few of them gets PEERNET_ERR_VALUE then.
peernet_status peernet_writer_array(peernet_writer *writer,
                                    uint32_t count);

// Begins a map: the next `count` pairs of values, key and value in turn, are in it.
peernet_status peernet_writer_map(peernet_writer *writer, uint32_t count);

// Appends values that are packed already, such as a payload that was received. PEERNET_ERR_VALUE if the `len`
// bytes are anything else.
peernet_status peernet_writer_packed(peernet_writer *writer, const uint8_t *data, size_t len);

// Makes a reader of `len` bytes of packed values, such as the payload of a message or what is in a writer.
peernet_status peernet_reader_init(peernet_reader *reader, const uint8_t *data, size_t len);

// Checks all that is left to read: PEERNET_ERR_VALUE unless it is whole values. Payloads of messages and what
// functions of this library wrote always are.
peernet_status peernet_reader_check(const peernet_reader *reader);

// The type of the next value, PEERNET_TYPE_..., without reading it; PEERNET_TYPE_END if there is none, or a
// negative status.
int32_t peernet_reader_type(const peernet_reader *reader);

// Reads a nil. PEERNET_ERR_TYPE if the next value is something else, and then the reader stays where it is;
// PEERNET_ERR_END if there is none. So in the following.
peernet_status peernet_reader_nil(peernet_reader *reader);

// Reads a boolean, as 1 or 0.
peernet_status peernet_reader_bool(peernet_reader *reader, int32_t *value);

// Reads an integer. PEERNET_ERR_TYPE also for one over 2^63-1: read that with peernet_reader_uint.
peernet_status peernet_reader_int(peernet_reader *reader, int64_t *value);

// Reads an integer that is not negative. PEERNET_ERR_TYPE also for one that is.
peernet_status peernet_reader_uint(peernet_reader *reader, uint64_t *value);

// Reads a number: one with a fraction, or the nearest to an integer, as which some peers send 5.0.
peernet_status peernet_reader_float(peernet_reader *reader, double *value);

// Reads a text, or bytes that are UTF-8, as which some peers send theirs. `*text` leads to its `*len` bytes in
// what is read, without a NUL behind them.
peernet_status peernet_reader_text(peernet_reader *reader,
                                   const char **text,
                                   size_t *len);

// Reads bytes, or a text as its bytes. `*data` leads to them, `*len` of them, in what is read.
peernet_status peernet_reader_bytes(peernet_reader *reader, const uint8_t **data, size_t *len);

// Reads the beginning of an array. The next `*count` values are in it.
peernet_status peernet_reader_array(peernet_reader *reader, size_t *count);

// Reads the beginning of a map. The next `*count` pairs of values, key and value in turn, are in it.
peernet_status peernet_reader_map(peernet_reader *reader, size_t *count);

// Passes over the next value, with all that is in it. PEERNET_ERR_END if there is none.
peernet_status peernet_reader_skip(peernet_reader *reader);

// Looks up a key, a text, in the map that is the next value of `map`, which stays where it is. On success `value`
// stands before the value of the key. PEERNET_ERR_END if the map has no such key, PEERNET_ERR_TYPE if there is no
// map.
peernet_status peernet_reader_find(const peernet_reader *map,
                                   const char *key,
                                   peernet_reader *value);

// Writes the id that a message has, on every node and in every frame, into the 32 bytes of `id`.
//
// Errors: PEERNET_ERR_VALUE if the payload is not packed values. Needs no node.
peernet_status peernet_message_id(const peernet_message *message, uint8_t *id);

// Makes the frame of a message, length field first, and appends it to `frame`. `codec` may be null. The message's id
// is not set; peernet_message_id tells it.
//
// Errors, and then nothing is appended: PEERNET_ERR_VALUE if the payload is not packed values,
// PEERNET_ERR_TOO_LARGE. Needs no node; the pure layer works in any process.
peernet_status peernet_encode(const peernet_message *message,
                              const peernet_codec *codec,
                              peernet_writer *frame);

// Reads the message in the first frame of `len` bytes, which begin with its length field. `codec` may be null.
//
// `body`, which is not where the frame is, is emptied and filled with the message; `message`, which begins with PEERNET_MESSAGE_INIT, leads into it
// and is good until `body` is changed or freed. `used` may be null: then the frame must be all there is. Else it is
// how many bytes the frame has taken, or, with PEERNET_ERR_END, how many are needed at least.
//
// Errors: PEERNET_ERR_MESSAGE if the bytes are no frame, or it holds no message; PEERNET_ERR_END if it is not whole
// yet and `used` is not null.
peernet_status peernet_decode(const uint8_t *frame,
                              size_t len,
                              const peernet_codec *codec,
                              peernet_writer *body,
                              peernet_message *message,
                              size_t *used);

// Writes the protocol id of a subnet and an encryption, both exactly as they are hashed (a table's subnet ends with
// 0 or 1; encryptions are Plaintext, SSL, ws, wss, tls/mesh, tls/sync), into the `size` bytes of `id`;
// PEERNET_ID_SIZE are always enough. Errors: PEERNET_ERR_TOO_LARGE if they are not. Needs no node.
peernet_status peernet_protocol_id(const char *subnet,
                                   const char *encryption,
                                   char *id,
                                   size_t size);

// Writes the id of a node at `host` and `port`, by 0.7's rule: `salt` is what tells nodes of one address apart. As
// peernet_protocol_id. Errors besides: PEERNET_ERR_ID if `protocol` is no protocol id.
peernet_status peernet_node_id(const char *host,
                               uint16_t port,
                               const char *protocol,
                               const char *salt,
                               char *id,
                               size_t size);

// Writes the id of the node that has a public Ed25519 key, of 32 bytes, in a tls subnet. As peernet_node_id.
peernet_status peernet_key_id(const uint8_t *public_key, const char *protocol, char *id, size_t size);

// Whether a text is the id of a node: PEERNET_OK, or PEERNET_ERR_ID. Needs no node.
peernet_status peernet_id_check(const char *id);

// Writes the integer in `len` bytes, the greatest first, in base58, into the `size` bytes of `text`. Twice as many as
// `len`, and two more, are always enough. Needs no node.
peernet_status peernet_base58_encode(const uint8_t *data,
                                     size_t len,
                                     char *text,
                                     size_t size);

// Reads an integer in base58 into the `size` bytes of `data`, the greatest first, without zeros before it; `*len` is
// how many it takes, none for zero. Errors: PEERNET_ERR_ID if the text is none, or its integer over 1024 bytes;
// PEERNET_ERR_TOO_LARGE if `size` is too small. Needs no node.
peernet_status peernet_base58_decode(const char *text,
                                     uint8_t *data,
                                     size_t size,
                                     size_t *len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PEERNET_H */

// Options with everything as by default.
#define PEERNET_OPTIONS_INIT \
    { sizeof(peernet_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, NULL, \
      NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 0, 0, 0 }
// A report to be filled.
#define PEERNET_REPORT_INIT { sizeof(peernet_report), { 0 }, 0 }
// A question of no type, with no data.
#define PEERNET_QUERY_INIT { sizeof(peernet_query), NULL, 0, NULL, 0, NULL, 0, 0, 0 }
// A message to be encoded, or to be filled.
#define PEERNET_MESSAGE_INIT { sizeof(peernet_message), 0, 0, NULL, 0, 0, 0, NULL, 0, { 0 } }
// Frames without compression and seals.
#define PEERNET_CODEC_INIT { sizeof(peernet_codec), NULL, 0, 0, NULL, NULL }
