/* SPDX-License-Identifier: MIT OR Apache-2.0 */

/*
 * snapwire: typed calls between processes of one host, over sockets and shared memory.
 *
 * Errors. Every function that can fail returns an `snapwire_status`; `snapwire_last_error` says
 * more. What a function hands out is written only when it returns SNAPWIRE_OK. NULL where a pointer
 * is needed is SNAPWIRE_BAD_ARGUMENT, never a crash; a pointer that is neither NULL nor valid is the
 * caller's mistake, as everywhere in C. No Rust panic leaves the library.
 *
 * Ownership. A client is freed by `snapwire_client_free`, a server by `snapwire_server_stop` or
 * `snapwire_server_drain`; free(NULL) does nothing. What a call hands out (bytes, items, labels)
 * belongs to the client and lives until its next call or its end. What a handler is given lives until
 * it returns. What the caller gives is copied before the function returns, except a server's context.
 *
 * Threads. A client is used by one thread at a time: a second gets SNAPWIRE_BUSY. Only
 * `snapwire_client_abort` may be called from any thread at any time before the client is freed.
 * Handlers are called from several threads at once, and may be called twice for one question, since
 * clients ask again when a connection breaks. They return, without an exception of C++ or a longjmp.
 * Where a function that fills an answer has failed, the client gets none, whatever they return.
 *
 * Text. Bytes have a length and need not end with a NUL. They are not checked to be UTF-8.
 *
 * This file is generated from the sources in crates/snapwire-ffi.
 */

#ifndef SNAPWIRE_H
#define SNAPWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The socket itself.
#define SNAPWIRE_PROFILE_UDS 1

// Shared memory as in netipc: every message wakes the peer.
#define SNAPWIRE_PROFILE_SHM 2

// Shared memory in which nobody is woken in vain.
#define SNAPWIRE_PROFILE_SHM_WAITERS 16

// A number and one more.
#define SNAPWIRE_INCREMENT 1

// All cgroups.
#define SNAPWIRE_CGROUPS_SNAPSHOT 2

// A string, backwards.
#define SNAPWIRE_STRING_REVERSE 3

// Cgroups by path.
#define SNAPWIRE_CGROUPS_LOOKUP 4

// Processes by pid.
#define SNAPWIRE_APPS_LOOKUP 5

// Status of an answer: it is known.
#define SNAPWIRE_CGROUP_KNOWN 0

// Not known yet.
#define SNAPWIRE_CGROUP_UNKNOWN_RETRY_LATER 1

// Not known, and it will not be.
#define SNAPWIRE_CGROUP_UNKNOWN_PERMANENT 2

// The answer fits no response.
#define SNAPWIRE_CGROUP_OVERSIZED 4

// Of a process's cgroup: it is the host's root.
#define SNAPWIRE_CGROUP_HOST_ROOT 3

// Status of an answer: it is known.
#define SNAPWIRE_APP_KNOWN 0

// Not known.
#define SNAPWIRE_APP_UNKNOWN 1

// The answer fits no response.
#define SNAPWIRE_APP_OVERSIZED 3

// A user that is not known.
#define SNAPWIRE_UID_UNSET 4294967295

// What became of a function.
typedef enum snapwire_status {
  // Done.
  SNAPWIRE_OK = 0,
  // An argument makes no sense: NULL, a bad service name, a path that is too long.
  SNAPWIRE_BAD_ARGUMENT = 1,
  // Nobody serves there.
  SNAPWIRE_NOT_FOUND = 2,
  // The system refuses: another user's service.
  SNAPWIRE_DENIED = 3,
  // The server refuses: its token, its profiles, its handler.
  SNAPWIRE_REFUSED = 4,
  // A request or a response is larger than allowed.
  SNAPWIRE_TOO_LARGE = 5,
  // No answer in time.
  SNAPWIRE_TIMEOUT = 6,
  // `snapwire_client_abort` was called.
  SNAPWIRE_ABORTED = 7,
  // The peer is gone.
  SNAPWIRE_DISCONNECTED = 8,
  // The peer broke the protocol.
  SNAPWIRE_PROTOCOL = 9,
  // The client is not connected: refresh it.
  SNAPWIRE_NOT_READY = 10,
  // Another thread is using the client.
  SNAPWIRE_BUSY = 11,
  // The client is of another kind.
  SNAPWIRE_WRONG_KIND = 12,
  // A live server has this endpoint.
  SNAPWIRE_IN_USE = 13,
  // The system failed: files, memory, threads.
  SNAPWIRE_SYSTEM = 14,
  // A mistake in this library. The client or server is of no use any more.
  SNAPWIRE_PANIC = 15,
} snapwire_status;

// Where a client stands.
typedef enum snapwire_state {
  // Not connected.
  SNAPWIRE_STATE_DISCONNECTED = 0,
  // In the middle of a refresh.
  SNAPWIRE_STATE_CONNECTING = 1,
  // Calls can be made.
  SNAPWIRE_STATE_READY = 2,
  // Nobody served there.
  SNAPWIRE_STATE_NOT_FOUND = 3,
  // The token was not accepted. Trying again would not help.
  SNAPWIRE_STATE_AUTH_FAILED = 4,
  // The peers do not go together. Trying again would not help.
  SNAPWIRE_STATE_INCOMPATIBLE = 5,
  // It was ready, and the connection is gone.
  SNAPWIRE_STATE_BROKEN = 6,
  // Somebody serves there, and this user may not connect.
  SNAPWIRE_STATE_DENIED = 7,
} snapwire_state;

// The answer of a handler of SNAPWIRE_APPS_LOOKUP: one item for each pid, in order.
typedef struct snapwire_apps_reply snapwire_apps_reply;

// The answer of a handler of SNAPWIRE_CGROUPS_LOOKUP: one item for each path, in order.
typedef struct snapwire_cgroups_reply snapwire_cgroups_reply;

// A caller of a service.
typedef struct snapwire_client snapwire_client;

// A service that is running.
typedef struct snapwire_server snapwire_server;

// The answer of a handler of SNAPWIRE_CGROUPS_SNAPSHOT.
typedef struct snapwire_snapshot_reply snapwire_snapshot_reply;

// The answer of a handler of SNAPWIRE_STRING_REVERSE.
typedef struct snapwire_text_reply snapwire_text_reply;

// Options of clients and servers. Set all to 0 and then `size`; 0 is the default of everything else.
typedef struct snapwire_options {
  // `sizeof(snapwire_options)`.
  size_t size;
  // The transports to use, SNAPWIRE_PROFILE_... together. Default: all.
  uint32_t profiles;
  // The longest request in bytes. Default: a client begins with 1 KiB, a server allows 1 MiB.
  uint32_t request_bytes;
  // The most items of a batch. Default: 1.
  uint32_t batch_items;
  // The longest response in bytes. Default: 64 KiB, up to 1 MiB where more is needed.
  uint32_t response_bytes;
  // The number that both sides must know.
  uint64_t auth_token;
  // How long a call may take, in milliseconds. Default: 30000.
  uint32_t timeout_ms;
  // How many clients a server has at once. Default: 8.
  uint32_t workers;
} snapwire_options;

// What a client has done so far.
typedef struct snapwire_client_status {
  // Where it stands.
  enum snapwire_state state;
  // The transport in use, SNAPWIRE_PROFILE_...; 0 without a connection.
  uint32_t profile;
  // Connections that were made first.
  uint64_t connects;
  // Connections that were made after a failure.
  uint64_t reconnects;
  // Calls that were answered.
  uint64_t calls;
  // Calls that were not.
  uint64_t errors;
} snapwire_client_status;

// Bytes with a length. `data` may be NULL when there are none.
typedef struct snapwire_bytes {
  // The first.
  const uint8_t *data;
  // How many.
  size_t length;
} snapwire_bytes;

// A cgroup of a snapshot.
typedef struct snapwire_snapshot_item {
  // With the name, what makes it the same one.
  uint32_t hash;
  // As the provider has it.
  uint32_t options;
  // Not 0: it is enabled.
  uint32_t enabled;
  // Its name.
  struct snapwire_bytes name;
  // Its path.
  struct snapwire_bytes path;
} snapwire_snapshot_item;

// A snapshot.
typedef struct snapwire_snapshot {
  // The provider's generation.
  uint64_t generation;
  // Not 0: the provider found systemd.
  uint32_t systemd_enabled;
  // The cgroups.
  const struct snapwire_snapshot_item *items;
  // How many.
  size_t count;
} snapwire_snapshot;

// A label: key and value.
typedef struct snapwire_label {
  // Not empty.
  struct snapwire_bytes key;
  // May be empty.
  struct snapwire_bytes value;
} snapwire_label;

// An answer to a path.
typedef struct snapwire_cgroup {
  // SNAPWIRE_CGROUP_...
  uint16_t status;
  // Who runs it: 0 unknown, 1 systemd, 2 docker, 3 k8s, 4 kvm, 5 lxc, 6 podman, 7 nspawn.
  uint16_t orchestrator;
  // The path that was asked for.
  struct snapwire_bytes path;
  // Its name.
  struct snapwire_bytes name;
  // Its labels.
  const struct snapwire_label *labels;
  // How many.
  size_t label_count;
} snapwire_cgroup;

// The answers to paths, in the order of the paths.
typedef struct snapwire_cgroups {
  // The provider's generation.
  uint64_t generation;
  // The answers.
  const struct snapwire_cgroup *items;
  // How many: as many as paths.
  size_t count;
} snapwire_cgroups;

// An answer to a pid, and what a handler says of one.
typedef struct snapwire_app {
  // SNAPWIRE_APP_... A handler leaves it 0.
  uint16_t status;
  // SNAPWIRE_CGROUP_...
  uint16_t cgroup_status;
  // Who runs the cgroup.
  uint16_t orchestrator;
  // The pid that was asked for. A handler leaves it 0.
  uint32_t pid;
  // The parent's pid.
  uint32_t parent;
  // The user, or SNAPWIRE_UID_UNSET.
  uint32_t uid;
  // When it started, in jiffies since boot.
  uint64_t starttime_jiffies;
  // The command's name, 1 to 15 bytes.
  struct snapwire_bytes comm;
  // The cgroup's path.
  struct snapwire_bytes cgroup_path;
  // The cgroup's name.
  struct snapwire_bytes cgroup_name;
  // The cgroup's labels.
  const struct snapwire_label *labels;
  // How many.
  size_t label_count;
} snapwire_app;

// The answers to pids, in the order of the pids.
typedef struct snapwire_apps {
  // The provider's generation.
  uint64_t generation;
  // The answers.
  const struct snapwire_app *items;
  // How many: as many as pids.
  size_t count;
} snapwire_apps;

// Answers a number by writing to `answer`. Handlers return SNAPWIRE_OK; anything else refuses.
typedef int (*snapwire_increment_handler)(void *context, uint64_t number, uint64_t *answer);

// Answers a text with `snapwire_reply_text`.
typedef int (*snapwire_string_reverse_handler)(void *context,
                                               struct snapwire_bytes text,
                                               struct snapwire_text_reply *reply);

// Answers with `snapwire_reply_snapshot` and `snapwire_reply_snapshot_item`.
typedef int (*snapwire_snapshot_handler)(void *context, struct snapwire_snapshot_reply *reply);

// Answers every path that `snapwire_next_path` gives.
typedef int (*snapwire_cgroups_handler)(void *context, struct snapwire_cgroups_reply *reply);

// Answers every pid that `snapwire_next_pid` gives.
typedef int (*snapwire_apps_handler)(void *context, struct snapwire_apps_reply *reply);

// What a server has done so far.
typedef struct snapwire_server_status {
  // Sessions that are open.
  size_t sessions;
  // Sessions that were ever opened.
  uint64_t sessions_total;
  // Clients that were turned away.
  uint64_t refused_total;
  // Requests that were answered, with whatever status.
  uint64_t requests_total;
} snapwire_server_status;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What the last function of this thread that failed has to say, with an end. It lives until the next
// one that fails in this thread; empty when none has.
const char *snapwire_last_error(void);

// The library's version, as in "0.1.0".
const char *snapwire_version(void);

// Makes a client of a kind, SNAPWIRE_INCREMENT and so on. It is not connected. Options may be NULL.
enum snapwire_status snapwire_client_new(uint16_t kind,
                                         const char *run_dir,
                                         const char *service,
                                         const struct snapwire_options *options,
                                         struct snapwire_client **client);

// Hangs up and frees a client. NULL is allowed.
void snapwire_client_free(struct snapwire_client *client);

// Connects, unless it is connected already or trying would not help. SNAPWIRE_OK when it can be used
// afterwards; what else says why it cannot.
enum snapwire_status snapwire_client_refresh(const struct snapwire_client *client);

// Where a client stands, and what it has done.
enum snapwire_status snapwire_client_get_status(const struct snapwire_client *client,
                                                struct snapwire_client_status *status);

// Calls off what a client is waiting for, from any thread. It stays so until
// `snapwire_client_clear_abort`.
enum snapwire_status snapwire_client_abort(const struct snapwire_client *client);

// Allows calls again.
enum snapwire_status snapwire_client_clear_abort(const struct snapwire_client *client);

// Asks a client of SNAPWIRE_INCREMENT.
enum snapwire_status snapwire_increment(const struct snapwire_client *client,
                                        uint64_t number,
                                        uint64_t *answer);

// Asks a client of SNAPWIRE_INCREMENT many numbers in one message. There are as many answers as
// numbers; both may be the same array.
enum snapwire_status snapwire_increment_batch(const struct snapwire_client *client,
                                              const uint64_t *numbers,
                                              size_t count,
                                              uint64_t *answers);

// Asks a client of SNAPWIRE_STRING_REVERSE.
enum snapwire_status snapwire_string_reverse(const struct snapwire_client *client,
                                             struct snapwire_bytes text,
                                             struct snapwire_bytes *answer);

// Asks a client of SNAPWIRE_CGROUPS_SNAPSHOT.
enum snapwire_status snapwire_take_snapshot(const struct snapwire_client *client,
                                            struct snapwire_snapshot *snapshot);

// Asks a client of SNAPWIRE_CGROUPS_LOOKUP for any number of paths.
enum snapwire_status snapwire_look_up_cgroups(const struct snapwire_client *client,
                                              const struct snapwire_bytes *paths,
                                              size_t count,
                                              struct snapwire_cgroups *cgroups);

// Asks a client of SNAPWIRE_APPS_LOOKUP for any number of pids.
enum snapwire_status snapwire_look_up_apps(const struct snapwire_client *client,
                                           const uint32_t *pids,
                                           size_t count,
                                           struct snapwire_apps *apps);

// Answers a text.
enum snapwire_status snapwire_reply_text(struct snapwire_text_reply *to,
                                         struct snapwire_bytes text);

// Sets what a snapshot says of its provider.
enum snapwire_status snapwire_reply_snapshot(struct snapwire_snapshot_reply *to,
                                             uint64_t generation,
                                             uint32_t systemd_enabled);

// Appends a cgroup to a snapshot.
enum snapwire_status snapwire_reply_snapshot_item(struct snapwire_snapshot_reply *to,
                                                  const struct snapwire_snapshot_item *item);

// Sets the generation of the answers to paths.
enum snapwire_status snapwire_reply_cgroups(struct snapwire_cgroups_reply *to, uint64_t generation);

// Says which path is to be answered next; false when all are.
bool snapwire_next_path(const struct snapwire_cgroups_reply *from, struct snapwire_bytes *path);

// Answers the next path: it is known. `placed`, if not NULL, says whether the response had room for
// it. If not, what is said of the paths that follow does not matter: the client asks for them again.
enum snapwire_status snapwire_reply_cgroup_known(struct snapwire_cgroups_reply *to,
                                                 uint16_t orchestrator,
                                                 struct snapwire_bytes name,
                                                 const struct snapwire_label *first_label,
                                                 size_t label_count,
                                                 bool *placed);

// Answers the next path: it is not known, for ever or not.
enum snapwire_status snapwire_reply_cgroup_unknown(struct snapwire_cgroups_reply *to,
                                                   bool permanent);

// Sets the generation of the answers to pids.
enum snapwire_status snapwire_reply_apps(struct snapwire_apps_reply *to, uint64_t generation);

// Says which pid is to be answered next; false when all are.
bool snapwire_next_pid(const struct snapwire_apps_reply *from, uint32_t *pid);

// Answers the next pid: it is known. Of `app`, the fields `status` and `pid` are not looked at.
enum snapwire_status snapwire_reply_app_known(struct snapwire_apps_reply *to,
                                              const struct snapwire_app *app);

// Answers the next pid: it is not known.
enum snapwire_status snapwire_reply_app_unknown(struct snapwire_apps_reply *to);

// Serves SNAPWIRE_INCREMENT. The context is given to the handler, from several threads at once, and
// must be valid until the server has stopped. Options may be NULL.
enum snapwire_status snapwire_serve_increment(const char *run_dir,
                                              const char *service,
                                              const struct snapwire_options *options,
                                              snapwire_increment_handler handler,
                                              void *context,
                                              struct snapwire_server **server);

// Serves SNAPWIRE_STRING_REVERSE, as `snapwire_serve_increment` does its kind.
enum snapwire_status snapwire_serve_string_reverse(const char *run_dir,
                                                   const char *service,
                                                   const struct snapwire_options *options,
                                                   snapwire_string_reverse_handler handler,
                                                   void *context,
                                                   struct snapwire_server **server);

// Serves SNAPWIRE_CGROUPS_SNAPSHOT, as `snapwire_serve_increment` does its kind.
enum snapwire_status snapwire_serve_snapshots(const char *run_dir,
                                              const char *service,
                                              const struct snapwire_options *options,
                                              snapwire_snapshot_handler handler,
                                              void *context,
                                              struct snapwire_server **server);

// Serves SNAPWIRE_CGROUPS_LOOKUP, as `snapwire_serve_increment` does its kind.
enum snapwire_status snapwire_serve_cgroups(const char *run_dir,
                                            const char *service,
                                            const struct snapwire_options *options,
                                            snapwire_cgroups_handler handler,
                                            void *context,
                                            struct snapwire_server **server);

// Serves SNAPWIRE_APPS_LOOKUP, as `snapwire_serve_increment` does its kind.
enum snapwire_status snapwire_serve_apps(const char *run_dir,
                                         const char *service,
                                         const struct snapwire_options *options,
                                         snapwire_apps_handler handler,
                                         void *context,
                                         struct snapwire_server **server);

// What a server has done so far.
enum snapwire_status snapwire_server_get_status(const struct snapwire_server *server,
                                                struct snapwire_server_status *status);

// Takes no more clients, lets what is being answered be answered for so long, stops and frees a
// server. True when everything was answered. Not to be called from a handler. NULL is allowed.
bool snapwire_server_drain(struct snapwire_server *server, uint32_t timeout_ms);

// Stops a server at once, waits for handlers that are running, and frees it. Not to be called from a
// handler. NULL is allowed.
void snapwire_server_stop(struct snapwire_server *server);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SNAPWIRE_H */
