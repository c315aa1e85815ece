/* Preloaded into the service by tests: calls on the database's files fail while a file of that name is in $FAULTS
 * ("sync", "write", "read"), and the process dies in the $KILL_AT-th of its writes and syncs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_database(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "tapcode.db") != NULL;
}

static int fails(int fd, const char *what) {
    const char *folder = getenv("FAULTS");
    char path[4096];
    if (!folder || !is_database(fd)) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, what);
    if (access(path, F_OK) != 0) return 0;
    errno = EIO;
    return 1;
}

static int dies(int fd) {
    static long done = 0;
    const char *at = getenv("KILL_AT");
    return at && is_database(fd) && __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST) == atol(at);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define SYNC(name)                              \
    int name(int fd) {                          \
        if (dies(fd)) kill(getpid(), SIGKILL);  \
        return fails(fd, "sync") ? -1 : REAL(name)(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)

/* A write that the process dies in is half done. */
#define WRITE(name, offset_t)                                                        \
    ssize_t name(int fd, const void *from, size_t size, offset_t at) {               \
        if (fails(fd, "write")) return -1;                                           \
        if (dies(fd)) {                                                              \
            if (REAL(name)(fd, from, size / 2, at) >= 0) kill(getpid(), SIGKILL);    \
        }                                                                            \
        return REAL(name)(fd, from, size, at);                                       \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

#define READ(name, offset_t)                                             \
    ssize_t name(int fd, void *into, size_t size, offset_t at) {         \
        return fails(fd, "read") ? -1 : REAL(name)(fd, into, size, at);  \
    }
READ(pread, off_t)
READ(pread64, off64_t)
