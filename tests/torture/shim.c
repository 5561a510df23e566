/* Preloaded into every process of a run: counts its changes under one directory, and strikes at the k-th.

   TORTURE_ROOT     the directory; without it nothing is counted
   TORTURE_COUNTER  a file of eight zero bytes, which all processes map: the count is one for all of them
   TORTURE_LOG      gets a line for each operation that is counted, before it is done
   TORTURE_AT       k; 0 strikes never
   TORTURE_FAULT    "kill": SIGKILL to the process group before the operation; "torn": a write does half, then the
                    same; "stop": SIGSTOP to the group before it; "clock": from it on (0: from the start) the time of day
                    is one day behind; a number: the operation fails with this errno and is not done
   TORTURE_LASTS    "1": so does every later one that can, but for those that make room
   TORTURE_READS    "1": what is read is counted in place of what is changed

   Real calls are system calls of their own: what libc does inside itself, nothing here sees. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { GO_ON, FAIL, TEAR };
enum { CHANGE = 1, MAKES_ROOM = 2, IS_READ = 4, IS_WRITE = 8 };

static char root[PATH_MAX];
static size_t root_size;
static uint64_t *counter;
static uint64_t at;
static int log_fd = -1;
static int error_number;
static int torn, stops, clock_jumps;
static int lasts;
static int reads;

static void die(void) {
    syscall(SYS_kill, 0, SIGKILL);
    for (;;)
        pause();
}

__attribute__((constructor)) void torture_configure(void) {
    const char *directory = getenv("TORTURE_ROOT");
    const char *fault = getenv("TORTURE_FAULT");
    root_size = 0;
    if (!directory)
        return;
    int fd = syscall(SYS_openat, AT_FDCWD, getenv("TORTURE_COUNTER"), O_RDWR | O_CLOEXEC, 0);
    counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    log_fd = syscall(SYS_openat, AT_FDCWD, getenv("TORTURE_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (counter == MAP_FAILED || log_fd < 0) {
        dprintf(2, "TORTURE_COUNTER or TORTURE_LOG cannot be opened\n");
        _exit(99);
    }
    /* Out of the way of what a program closes or numbers for itself. */
    int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 200);
    syscall(SYS_close, log_fd);
    log_fd = high;
    at = strtoull(getenv("TORTURE_AT"), NULL, 10);
    torn = !strcmp(fault, "torn");
    stops = !strcmp(fault, "stop");
    clock_jumps = !strcmp(fault, "clock");
    error_number = atoi(fault);
    lasts = getenv("TORTURE_LASTS") && !strcmp(getenv("TORTURE_LASTS"), "1");
    reads = getenv("TORTURE_READS") && !strcmp(getenv("TORTURE_READS"), "1");
    snprintf(root, sizeof root, "%s", directory);
    root_size = strlen(root);
}

/* Return the path below the root; NULL for any other. */
static const char *below(const char *path) {
    if (strncmp(path, root, root_size) || (path[root_size] && path[root_size] != '/'))
        return NULL;
    return path[root_size] ? path + root_size + 1 : ".";
}

static const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, PATH_MAX - 1);
    buffer[size < 0 ? 0 : size] = 0;
    return buffer;
}

static const char *path_at(int dirfd, const char *path, char *buffer) {
    if (path[0] == '/')
        return path;
    if (dirfd == AT_FDCWD)
        syscall(SYS_getcwd, buffer, PATH_MAX);
    else
        path_of(dirfd, buffer);
    size_t size = strlen(buffer);
    snprintf(buffer + size, 2 * PATH_MAX - size, "/%s", path);
    return buffer;
}

static int strike(const char *what, int kind, const char *path, const char *other) {
    const char *place = path ? below(path) : NULL, *second = other ? below(other) : NULL;
    if (!(place || second) || reads != !!(kind & IS_READ))
        return GO_ON;
    char line[3 * PATH_MAX];
    int size = snprintf(line, sizeof line, "%s %s%s%s\n", what, place ? place : path, other ? " -> " : "",
                        other ? (second ? second : other) : "");
    int saved = errno;
    syscall(SYS_write, log_fd, line, size);
    errno = saved;
    uint64_t number = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    if (!at || number < at || (number > at && !lasts))
        return GO_ON;
    if (clock_jumps)
        return GO_ON;
    if (stops) {
        syscall(SYS_kill, 0, SIGSTOP);
        return GO_ON;
    }
    if (error_number) {
        if (lasts && kind & MAKES_ROOM)
            return GO_ON;
        errno = error_number;
        return FAIL;
    }
    if (torn && kind & IS_WRITE)
        return TEAR;
    die();
    return FAIL;
}

static int strike_at(const char *what, int kind, int dirfd, const char *path) {
    char buffer[3 * PATH_MAX];
    return root_size && path ? strike(what, kind, path_at(dirfd, path, buffer), NULL) : GO_ON;
}

static int strike_two(const char *what, int from_fd, const char *from, int to_fd, const char *to) {
    char buffers[2][3 * PATH_MAX];
    if (!root_size)
        return GO_ON;
    return strike(what, CHANGE, path_at(from_fd, from, buffers[0]), path_at(to_fd, to, buffers[1]));
}

static int strike_fd(const char *what, int kind, int fd) {
    char buffer[PATH_MAX];
    return root_size && fd != log_fd ? strike(what, kind, path_of(fd, buffer), NULL) : GO_ON;
}

static int open_at(int dirfd, const char *path, int flags, mode_t mode) {
    int changes = flags & (O_CREAT | O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;
    if (strike_at(changes ? "open" : "read-open", changes ? CHANGE : IS_READ, dirfd, path))
        return -1;
    return syscall(SYS_openat, dirfd, path, flags, mode);
}

#define OPEN_MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int dirfd, const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(dirfd, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __openat_2(int dirfd, const char *path, int flags) { return open_at(dirfd, path, flags, 0); }
int __openat64_2(int dirfd, const char *path, int flags) { return open_at(dirfd, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

ssize_t write(int fd, const void *bytes, size_t size) {
    int how = strike_fd("write", CHANGE | IS_WRITE, fd);
    if (how == TEAR) {
        syscall(SYS_write, fd, bytes, size / 2);
        die();
    }
    return how ? -1 : syscall(SYS_write, fd, bytes, size);
}

static ssize_t write_at(int fd, const void *bytes, size_t size, off_t offset) {
    int how = strike_fd("pwrite", CHANGE | IS_WRITE, fd);
    if (how == TEAR) {
        syscall(SYS_pwrite64, fd, bytes, size / 2, offset);
        die();
    }
    return how ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return write_at(fd, bytes, size, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) { return write_at(fd, bytes, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return strike_fd("writev", CHANGE, fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

ssize_t sendfile64(int to, int from, off_t *offset, size_t size) {
    return strike_fd("sendfile", CHANGE, to) ? -1 : syscall(SYS_sendfile, to, from, offset, size);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) { return sendfile64(to, from, offset, size); }

ssize_t copy_file_range(int from, off_t *from_offset, int to, off_t *to_offset, size_t size, unsigned flags) {
    if (strike_fd("copy_file_range", CHANGE, to))
        return -1;
    return syscall(SYS_copy_file_range, from, from_offset, to, to_offset, size, flags);
}

int ftruncate64(int fd, off_t size) {
    return strike_fd("ftruncate", CHANGE | MAKES_ROOM, fd) ? -1 : syscall(SYS_ftruncate, fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate64(const char *path, off_t size) {
    return strike_at("truncate", CHANGE | MAKES_ROOM, AT_FDCWD, path) ? -1 : syscall(SYS_truncate, path, size);
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }

int fallocate64(int fd, int mode, off_t offset, off_t size) {
    return strike_fd("fallocate", CHANGE, fd) ? -1 : syscall(SYS_fallocate, fd, mode, offset, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) { return fallocate64(fd, mode, offset, size); }

int posix_fallocate64(int fd, off_t offset, off_t size) { return fallocate64(fd, 0, offset, size) ? errno : 0; }
int posix_fallocate(int fd, off_t offset, off_t size) { return fallocate64(fd, 0, offset, size) ? errno : 0; }

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    if (strike_two("rename", from_fd, from, to_fd, to))
        return -1;
    return syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}
int renameat(int from_fd, const char *from, int to_fd, const char *to) { return renameat2(from_fd, from, to_fd, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    if (strike_two("link", from_fd, from, to_fd, to))
        return -1;
    return syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int dirfd, const char *path) {
    return strike_at("symlink", CHANGE, dirfd, path) ? -1 : syscall(SYS_symlinkat, target, dirfd, path);
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

int unlinkat(int dirfd, const char *path, int flags) {
    if (strike_at(flags & AT_REMOVEDIR ? "rmdir" : "unlink", CHANGE | MAKES_ROOM, dirfd, path))
        return -1;
    return syscall(SYS_unlinkat, dirfd, path, flags);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    int failed = unlink(path);
    return failed && errno == EISDIR ? rmdir(path) : failed;
}

int mkdirat(int dirfd, const char *path, mode_t mode) {
    /* Making what is there changes nothing. */
    if (!syscall(SYS_faccessat, dirfd, path, F_OK))
        return syscall(SYS_mkdirat, dirfd, path, mode);
    return strike_at("mkdir", CHANGE, dirfd, path) ? -1 : syscall(SYS_mkdirat, dirfd, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int fsync(int fd) { return strike_fd("fsync", CHANGE, fd) ? -1 : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return strike_fd("fdatasync", CHANGE, fd) ? -1 : syscall(SYS_fdatasync, fd); }

ssize_t read(int fd, void *bytes, size_t size) {
    return strike_fd("read", IS_READ, fd) ? -1 : syscall(SYS_read, fd, bytes, size);
}

static ssize_t read_at(int fd, void *bytes, size_t size, off_t offset) {
    return strike_fd("pread", IS_READ, fd) ? -1 : syscall(SYS_pread64, fd, bytes, size, offset);
}
ssize_t pread(int fd, void *bytes, size_t size, off_t offset) { return read_at(fd, bytes, size, offset); }
ssize_t pread64(int fd, void *bytes, size_t size, off_t offset) { return read_at(fd, bytes, size, offset); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME && root_size && clock_jumps && *counter >= at)
        now->tv_sec -= 24 * 60 * 60;
    return failed;
}
