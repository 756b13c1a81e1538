/* Loaded before libc (LD_PRELOAD): kills the process at its call number KILLED_AT, from 1, of those by which a file below
 * KILLED_BELOW is looked at, renamed, deleted or kept so: an odd number before it, the even one that follows after it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int calls;

static int is_below(const char *path) {
  const char *root = getenv("KILLED_BELOW");
  return root && path && strncmp(path, root, strlen(root)) == 0;
}

static void step(int counts) {
  const char *at = getenv("KILLED_AT");
  if (counts && at && __sync_add_and_fetch(&calls, 1) == atoi(at)) kill(getpid(), SIGKILL);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int unlink(const char *path) {
  REAL(unlink);
  step(is_below(path));
  int status = real(path);
  step(is_below(path));
  return status;
}

int rename(const char *from, const char *to) {
  REAL(rename);
  step(is_below(from));
  int status = real(from, to);
  step(is_below(from));
  return status;
}

char *realpath(const char *path, char *into) {
  REAL(realpath);
  step(is_below(path));
  char *found = real(path, into);
  step(is_below(path));
  return found;
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *into) {
  REAL(statx);
  step(is_below(path));
  int status = real(directory, path, flags, mask, into);
  step(is_below(path));
  return status;
}

int open64(const char *path, int flags, ...) {
  REAL(open64);
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  step(is_below(path));
  int file = real(path, flags, mode);
  step(is_below(path));
  return file;
}

int fsync(int file) {
  REAL(fsync);
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  step(is_below(path));
  int status = real(file);
  step(is_below(path));
  return status;
}
