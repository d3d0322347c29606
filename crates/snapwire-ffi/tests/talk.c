/* A server and a client of every kind, in C. `talk.rs` runs them against each other and Rust's. */

#define _POSIX_C_SOURCE 200809L

#include "snapwire.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "line %d: %s; last error: %s\n", __LINE__, #condition, snapwire_last_error()); \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

static snapwire_bytes text(const char *letters) {
  snapwire_bytes bytes = {(const uint8_t *)letters, strlen(letters)};
  return bytes;
}

static int is(snapwire_bytes bytes, const char *letters) {
  return bytes.length == strlen(letters) && memcmp(bytes.data, letters, bytes.length) == 0;
}

static int begins(snapwire_bytes bytes, const char *letters) {
  size_t length = strlen(letters);
  return bytes.length >= length && memcmp(bytes.data, letters, length) == 0;
}

/* Handlers. A context is the number that increments, or a meeting of two threads. */

typedef struct meeting {
  uint64_t step;
  sem_t entered;
  sem_t released;
} meeting;

static int increment(void *context, uint64_t number, uint64_t *answer) {
  meeting *with = context;
  if (number == 13) {
    return SNAPWIRE_REFUSED;
  }
  if (number == 77) {
    sem_post(&with->entered);
    sem_wait(&with->released);
  }
  *answer = number + with->step;
  return SNAPWIRE_OK;
}

static int reverse(void *context, snapwire_bytes asked, snapwire_text_reply *reply) {
  uint8_t backwards[256];
  snapwire_bytes answer = {backwards, asked.length}, broken = {NULL, 3};
  (void)context;
  if (is(asked, "broken")) {
    snapwire_reply_text(reply, broken);
    return SNAPWIRE_OK;
  }
  if (asked.length > sizeof backwards) {
    return SNAPWIRE_TOO_LARGE;
  }
  for (size_t i = 0; i < asked.length; i++) {
    backwards[i] = asked.data[asked.length - 1 - i];
  }
  return snapwire_reply_text(reply, answer);
}

static int snapshot(void *context, snapwire_snapshot_reply *reply) {
  (void)context;
  snapwire_reply_snapshot(reply, 42, 1);
  for (uint32_t i = 0; i < 3; i++) {
    char name[16], path[16];
    snprintf(name, sizeof name, "n%u", i);
    snprintf(path, sizeof path, "/p%u", i);
    snapwire_snapshot_item item = {i, 2, 1, text(name), text(path)};
    snapwire_status status = snapwire_reply_snapshot_item(reply, &item);
    if (status != SNAPWIRE_OK) {
      return status;
    }
  }
  return SNAPWIRE_OK;
}

static int cgroups(void *context, snapwire_cgroups_reply *reply) {
  snapwire_label labels[2] = {{text("app"), text("web")}, {text("tier"), text("")}};
  snapwire_bytes path;
  snapwire_status status = snapwire_reply_cgroups(reply, 5);
  (void)context;
  while (status == SNAPWIRE_OK && snapwire_next_path(reply, &path)) {
    if (begins(path, "/known")) {
      status = snapwire_reply_cgroup_known(reply, 3, text("pod"), labels, 2, NULL);
    } else {
      status = snapwire_reply_cgroup_unknown(reply, !begins(path, "/later"));
    }
  }
  return status;
}

static int apps(void *context, snapwire_apps_reply *reply) {
  uint32_t pid;
  snapwire_status status = snapwire_reply_apps(reply, 6);
  (void)context;
  while (status == SNAPWIRE_OK && snapwire_next_pid(reply, &pid)) {
    snapwire_app app = {0};
    app.parent = 1;
    app.uid = pid == 43 ? SNAPWIRE_UID_UNSET : 1000;
    app.starttime_jiffies = 77;
    app.comm = text("sshd");
    if (pid == 42) {
      app.orchestrator = 1;
      app.cgroup_path = text("/system.slice/sshd");
      app.cgroup_name = text("sshd");
      status = snapwire_reply_app_known(reply, &app);
    } else if (pid == 43) {
      app.cgroup_status = SNAPWIRE_CGROUP_HOST_ROOT;
      status = snapwire_reply_app_known(reply, &app);
    } else {
      status = snapwire_reply_app_unknown(reply);
    }
  }
  return status;
}

static snapwire_server *serve(int kind, const char *dir, const char *name,
                              const snapwire_options *options, meeting *context) {
  snapwire_server *server = NULL;
  snapwire_status status = SNAPWIRE_BAD_ARGUMENT;
  switch (kind) {
  case SNAPWIRE_INCREMENT:
    status = snapwire_serve_increment(dir, name, options, increment, context, &server);
    break;
  case SNAPWIRE_STRING_REVERSE:
    status = snapwire_serve_string_reverse(dir, name, options, reverse, NULL, &server);
    break;
  case SNAPWIRE_CGROUPS_SNAPSHOT:
    status = snapwire_serve_snapshots(dir, name, options, snapshot, NULL, &server);
    break;
  case SNAPWIRE_CGROUPS_LOOKUP:
    status = snapwire_serve_cgroups(dir, name, options, cgroups, NULL, &server);
    break;
  case SNAPWIRE_APPS_LOOKUP:
    status = snapwire_serve_apps(dir, name, options, apps, NULL, &server);
    break;
  }
  CHECK(status == SNAPWIRE_OK && server != NULL);
  return server;
}

/* Calls. */

static void call_increment(snapwire_client *client) {
  uint64_t numbers[64], answer = 0;
  for (uint64_t i = 100; i < 200; i++) {
    CHECK(snapwire_increment(client, i, &answer) == SNAPWIRE_OK && answer == i + 1);
  }
  for (uint64_t i = 0; i < 64; i++) {
    numbers[i] = 1000 + i;
  }
  CHECK(snapwire_increment_batch(client, numbers, 64, numbers) == SNAPWIRE_OK);
  for (uint64_t i = 0; i < 64; i++) {
    CHECK(numbers[i] == 1001 + i);
  }
  CHECK(snapwire_increment_batch(client, NULL, 0, NULL) == SNAPWIRE_OK);
  answer = 7;
  CHECK(snapwire_increment(client, 13, &answer) == SNAPWIRE_REFUSED && answer == 7);
  CHECK(strstr(snapwire_last_error(), "INTERNAL_ERROR") != NULL);
  CHECK(snapwire_client_refresh(client) == SNAPWIRE_OK);
  snapwire_snapshot snapshot;
  CHECK(snapwire_take_snapshot(client, &snapshot) == SNAPWIRE_WRONG_KIND);
}

static void call_string_reverse(snapwire_client *client) {
  snapwire_bytes answer, none = {NULL, 0};
  CHECK(snapwire_string_reverse(client, text("abc"), &answer) == SNAPWIRE_OK && is(answer, "cba"));
  CHECK(snapwire_string_reverse(client, none, &answer) == SNAPWIRE_OK && answer.length == 0);
}

static void call_snapshot(snapwire_client *client) {
  snapwire_snapshot taken;
  for (int round = 0; round < 3; round++) {
    CHECK(snapwire_take_snapshot(client, &taken) == SNAPWIRE_OK);
    CHECK(taken.generation == 42 && taken.systemd_enabled == 1 && taken.count == 3);
    for (uint32_t i = 0; i < 3; i++) {
      char name[16], path[16];
      snprintf(name, sizeof name, "n%u", i);
      snprintf(path, sizeof path, "/p%u", i);
      const snapwire_snapshot_item *item = &taken.items[i];
      CHECK(item->hash == i && item->options == 2 && item->enabled == 1);
      CHECK(is(item->name, name) && is(item->path, path));
    }
  }
}

static void call_cgroups(snapwire_client *client) {
  enum { MANY = 3000 };
  static char letters[MANY][32];
  static snapwire_bytes paths[MANY];
  snapwire_cgroups found;
  snapwire_bytes few[3] = {text("/known/a"), text("/later"), text("/never")};
  CHECK(snapwire_look_up_cgroups(client, few, 3, &found) == SNAPWIRE_OK);
  CHECK(found.generation == 5 && found.count == 3);
  CHECK(found.items[0].status == SNAPWIRE_CGROUP_KNOWN && found.items[0].orchestrator == 3);
  CHECK(is(found.items[0].path, "/known/a") && is(found.items[0].name, "pod"));
  CHECK(found.items[0].label_count == 2 && is(found.items[0].labels[0].key, "app"));
  CHECK(is(found.items[0].labels[0].value, "web") && is(found.items[0].labels[1].key, "tier"));
  CHECK(found.items[0].labels[1].value.length == 0);
  CHECK(found.items[1].status == SNAPWIRE_CGROUP_UNKNOWN_RETRY_LATER);
  CHECK(found.items[2].status == SNAPWIRE_CGROUP_UNKNOWN_PERMANENT);
  CHECK(found.items[2].label_count == 0 && is(found.items[2].path, "/never"));
  for (int i = 0; i < MANY; i++) {
    snprintf(letters[i], sizeof letters[i], "%s/%d", i % 2 ? "/known" : "/never", i);
    paths[i] = text(letters[i]);
  }
  /* More than fits one message. */
  CHECK(snapwire_look_up_cgroups(client, paths, MANY, &found) == SNAPWIRE_OK);
  CHECK(found.count == MANY);
  for (int i = 0; i < MANY; i++) {
    CHECK(is(found.items[i].path, letters[i]));
    CHECK(found.items[i].label_count == (i % 2 ? 2 : 0));
    CHECK(i % 2 == 0 || is(found.items[i].labels[0].value, "web"));
  }
  CHECK(snapwire_look_up_cgroups(client, NULL, 0, &found) == SNAPWIRE_OK && found.count == 0);
}

static void call_apps(snapwire_client *client) {
  uint32_t pids[3] = {42, 43, 44};
  snapwire_apps found;
  CHECK(snapwire_look_up_apps(client, pids, 3, &found) == SNAPWIRE_OK);
  CHECK(found.generation == 6 && found.count == 3);
  const snapwire_app *app = found.items;
  CHECK(app[0].status == SNAPWIRE_APP_KNOWN && app[0].pid == 42 && app[0].parent == 1);
  CHECK(app[0].uid == 1000 && app[0].starttime_jiffies == 77 && is(app[0].comm, "sshd"));
  CHECK(app[0].cgroup_status == SNAPWIRE_CGROUP_KNOWN && app[0].orchestrator == 1);
  CHECK(is(app[0].cgroup_path, "/system.slice/sshd") && is(app[0].cgroup_name, "sshd"));
  CHECK(app[1].cgroup_status == SNAPWIRE_CGROUP_HOST_ROOT && app[1].uid == SNAPWIRE_UID_UNSET);
  CHECK(app[2].status == SNAPWIRE_APP_UNKNOWN && app[2].pid == 44 && app[2].comm.length == 0);
}

static snapwire_client *connect_to(int kind, const char *dir, const char *name,
                                   const snapwire_options *options) {
  snapwire_client *client = NULL;
  CHECK(snapwire_client_new((uint16_t)kind, dir, name, options, &client) == SNAPWIRE_OK);
  CHECK(snapwire_client_refresh(client) == SNAPWIRE_OK);
  return client;
}

static void call(int kind, const char *dir, const char *name, const snapwire_options *options) {
  snapwire_client *client = connect_to(kind, dir, name, options);
  snapwire_client_status status;
  switch (kind) {
  case SNAPWIRE_INCREMENT:
    call_increment(client);
    break;
  case SNAPWIRE_STRING_REVERSE:
    call_string_reverse(client);
    break;
  case SNAPWIRE_CGROUPS_SNAPSHOT:
    call_snapshot(client);
    break;
  case SNAPWIRE_CGROUPS_LOOKUP:
    call_cgroups(client);
    break;
  case SNAPWIRE_APPS_LOOKUP:
    call_apps(client);
    break;
  }
  CHECK(snapwire_client_get_status(client, &status) == SNAPWIRE_OK);
  CHECK(status.state == SNAPWIRE_STATE_READY && status.connects == 1 && status.calls > 0);
  CHECK(options->profiles == 0 || (status.profile & options->profiles) == status.profile);
  snapwire_client_free(client);
}

/* What goes wrong, and two threads with one client. */

typedef struct waiting {
  snapwire_client *client;
  snapwire_status status;
} waiting;

static void *wait_for_answer(void *argument) {
  waiting *it = argument;
  uint64_t answer = 0;
  it->status = snapwire_increment(it->client, 77, &answer);
  return NULL;
}

static void misuse(const char *dir, const snapwire_options *options) {
  snapwire_client *client = NULL;
  snapwire_server *server = NULL, *second = NULL;
  snapwire_client_status status;
  snapwire_server_status served;
  snapwire_bytes bytes, broken = {NULL, 3};
  snapwire_cgroups found;
  snapwire_options wrong = {0};
  uint64_t answer;
  bool placed;
  CHECK(strlen(snapwire_version()) > 0);
  CHECK(strcmp(snapwire_last_error(), "") == 0);
  CHECK(snapwire_client_new(1, NULL, "x", NULL, &client) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(strcmp(snapwire_last_error(), "`run_dir` is NULL") == 0);
  CHECK(snapwire_client_new(1, dir, NULL, NULL, &client) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_new(1, dir, "x", NULL, NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_new(1, dir, "a/b", NULL, &client) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_new(9, dir, "x", NULL, &client) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_new(1, dir, "x", &wrong, &client) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(strstr(snapwire_last_error(), "options.size") != NULL && client == NULL);
  CHECK(snapwire_client_refresh(NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_abort(NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_clear_abort(NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_client_get_status(NULL, &status) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_increment(NULL, 1, &answer) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_text(NULL, broken) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_snapshot(NULL, 1, 1) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_snapshot_item(NULL, NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_cgroups(NULL, 1) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_cgroup_known(NULL, 1, broken, NULL, 1, &placed) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_cgroup_unknown(NULL, true) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_apps(NULL, 1) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_app_known(NULL, NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_reply_app_unknown(NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(!snapwire_next_path(NULL, &bytes) && !snapwire_next_pid(NULL, NULL));
  CHECK(snapwire_serve_increment(dir, "x", NULL, NULL, NULL, &server) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_serve_cgroups(dir, "x", NULL, cgroups, NULL, NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_server_get_status(NULL, &served) == SNAPWIRE_BAD_ARGUMENT && server == NULL);
  snapwire_client_free(NULL);
  snapwire_server_stop(NULL);
  CHECK(snapwire_server_drain(NULL, 1));

  CHECK(snapwire_client_new(1, dir, "one", options, &client) == SNAPWIRE_OK);
  CHECK(snapwire_increment(client, 1, &answer) == SNAPWIRE_NOT_READY);
  CHECK(snapwire_client_refresh(client) == SNAPWIRE_NOT_FOUND);
  CHECK(strstr(snapwire_last_error(), "/one.sock; start the service") != NULL);
  CHECK(snapwire_client_abort(client) == SNAPWIRE_OK);
  CHECK(snapwire_client_refresh(client) == SNAPWIRE_ABORTED);
  CHECK(snapwire_client_clear_abort(client) == SNAPWIRE_OK);
  CHECK(snapwire_client_refresh(client) == SNAPWIRE_NOT_FOUND);
  CHECK(snapwire_client_get_status(client, &status) == SNAPWIRE_OK);
  CHECK(status.state == SNAPWIRE_STATE_NOT_FOUND && status.profile == 0);
  CHECK(snapwire_look_up_cgroups(client, NULL, 0, &found) == SNAPWIRE_WRONG_KIND);
  snapwire_client_free(client);

  meeting with = {.step = 1};
  CHECK(sem_init(&with.entered, 0, 0) == 0 && sem_init(&with.released, 0, 0) == 0);
  server = serve(SNAPWIRE_INCREMENT, dir, "one", options, &with);
  snapwire_status again =
      snapwire_serve_increment(dir, "one", options, increment, &with, &second);
  CHECK(again == SNAPWIRE_IN_USE && second == NULL);
  client = connect_to(SNAPWIRE_INCREMENT, dir, "one", options);
  CHECK(snapwire_increment(client, 1, NULL) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_increment_batch(client, NULL, 2, &answer) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_increment_batch(client, &answer, (size_t)-1, &answer) == SNAPWIRE_BAD_ARGUMENT);
  waiting it = {client, SNAPWIRE_OK};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, wait_for_answer, &it) == 0);
  sem_wait(&with.entered);
  CHECK(snapwire_increment(client, 1, &answer) == SNAPWIRE_BUSY);
  CHECK(snapwire_client_abort(client) == SNAPWIRE_OK);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(it.status == SNAPWIRE_ABORTED);
  sem_post(&with.released);
  CHECK(snapwire_client_clear_abort(client) == SNAPWIRE_OK);
  CHECK(snapwire_client_refresh(client) == SNAPWIRE_OK);
  CHECK(snapwire_increment(client, 1, &answer) == SNAPWIRE_OK && answer == 2);
  CHECK(snapwire_server_get_status(server, &served) == SNAPWIRE_OK && served.requests_total >= 1);
  snapwire_client_free(client);
  CHECK(snapwire_server_drain(server, 10000));

  server = serve(SNAPWIRE_STRING_REVERSE, dir, "two", options, NULL);
  client = connect_to(SNAPWIRE_STRING_REVERSE, dir, "two", options);
  CHECK(snapwire_string_reverse(client, broken, &bytes) == SNAPWIRE_BAD_ARGUMENT);
  CHECK(snapwire_string_reverse(client, text("ok"), &bytes) == SNAPWIRE_OK && is(bytes, "ko"));
  /* What a handler gives is refused, and the handler says that all is well: there is no answer. */
  CHECK(snapwire_string_reverse(client, text("broken"), &bytes) == SNAPWIRE_REFUSED);
  snapwire_options stranger = *options;
  stranger.auth_token = 999;
  snapwire_client *other = NULL;
  CHECK(snapwire_client_new(3, dir, "two", &stranger, &other) == SNAPWIRE_OK);
  CHECK(snapwire_client_refresh(other) == SNAPWIRE_REFUSED);
  CHECK(snapwire_client_refresh(other) == SNAPWIRE_REFUSED);
  snapwire_client_free(other);
  snapwire_client_free(client);
  snapwire_server_stop(server);
  sem_destroy(&with.entered);
  sem_destroy(&with.released);
}

int main(int count, char **arguments) {
  snapwire_options options = {0};
  options.size = sizeof options;
  options.auth_token = 11;
  options.batch_items = 64;
  options.timeout_ms = 20000;
  if (count == 4 && strcmp(arguments[1], "misuse") == 0) {
    options.profiles = (uint32_t)atoi(arguments[3]);
    misuse(arguments[2], &options);
    return 0;
  }
  CHECK(count == 6);
  int kind = atoi(arguments[2]);
  options.profiles = (uint32_t)atoi(arguments[5]);
  if (strcmp(arguments[1], "call") == 0) {
    call(kind, arguments[3], arguments[4], &options);
    return 0;
  }
  CHECK(strcmp(arguments[1], "serve") == 0);
  meeting with = {.step = 1};
  snapwire_server *server = serve(kind, arguments[3], arguments[4], &options, &with);
  puts("ready");
  fflush(stdout);
  char letter;
  while (read(0, &letter, 1) > 0) {
  }
  snapwire_server_stop(server);
  return 0;
}
