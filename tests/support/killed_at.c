/* Ends the process that loads it with SIGKILL at a durable write of its choice: LD_PRELOAD.
 *
 * It counts calls of fsync(2) and rename(2) on paths below one folder, and kills before the n-th is
 * made: what was done before is on disk, and nothing after. A power cut does no more.
 *
 *   KILL_BELOW=FOLDER   where calls count; children do not inherit any of this
 *   KILL_AT=N           which one kills; 0 is none
 *   KILL_LOG=FILE       each call that counts is a line in it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char below[PATH_MAX], log_path[PATH_MAX];
static int at, count;

__attribute__((constructor)) static void read_environment(void) {
  const char *folder = getenv("KILL_BELOW"), *n = getenv("KILL_AT"), *log = getenv("KILL_LOG");
  if (folder) snprintf(below, sizeof below, "%s/", folder);
  if (log) snprintf(log_path, sizeof log_path, "%s", log);
  at = n ? atoi(n) : 0;
  unsetenv("LD_PRELOAD");
  unsetenv("KILL_BELOW");
  unsetenv("KILL_AT");
  unsetenv("KILL_LOG");
}

static void take_note(const char *call, const char *path) {
  if (!below[0] || strncmp(path, below, strlen(below)) != 0) return;
  int now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  int file = log_path[0] ? open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
  if (file >= 0) {
    dprintf(file, "%d %s %s\n", now, call, path + strlen(below));
    close(file);
  }
  if (now == at) kill(getpid(), SIGKILL);
}

static void take_note_of(const char *call, int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = readlink(link, path, sizeof path - 2);
  if (size <= 0) return;
  path[size] = '/'; /* the folder itself counts as well */
  path[size + 1] = 0;
  take_note(call, path);
}

int fsync(int descriptor) {
  take_note_of("fsync", descriptor);
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return real(descriptor);
}

int rename(const char *from, const char *to) {
  take_note("rename", to);
  int (*real)(const char *, const char *) =
      (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
  return real(from, to);
}
