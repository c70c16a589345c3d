/* Let one system call of a running process fail: LD_PRELOAD this, with the path of a file in SOAK_SHIM.
 *
 * The file holds four 32-bit numbers: which call, which errno, how many calls to let through first, and how many have
 * failed. The campaign writes all of them; one call fails, and the shim is quiet until it is armed again. Calls are numbered as in CALLS of failing_calls.py.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NONE, ACCEPT, CONNECT, SEND, RECV, SETSOCKOPT, GETSOCKOPT, EPOLL_CTL, SOCKET, SHUTDOWN, GETPEERNAME, GETSOCKNAME,
       SENDMSG, RECVMSG };

static volatile int32_t *order; /* call, errno, skip, fired */

__attribute__((constructor)) static void open_order(void) {
    const char *path = getenv("SOAK_SHIM");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) order = found;
}

/* Whether this call is the one that fails; then errno is set. */
static int fails(int call) {
    if (!order || order[0] != call) return 0;
    if (order[2]-- > 0) return 0;
    order[0] = NONE;
    order[3]++;
    errno = order[1];
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SHIM(call, result, name, parameters, arguments)                 \
    result name parameters {                                            \
        static __typeof__(&name) real;                                  \
        if (!real) real = REAL(name);                                   \
        return fails(call) ? (result)-1 : real arguments;               \
    }

SHIM(ACCEPT, int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
SHIM(CONNECT, int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
SHIM(SEND, ssize_t, send, (int fd, const void *data, size_t n, int flags), (fd, data, n, flags))
SHIM(RECV, ssize_t, recv, (int fd, void *data, size_t n, int flags), (fd, data, n, flags))
SHIM(SETSOCKOPT, int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n), (fd, l, o, v, n))
SHIM(GETSOCKOPT, int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), (fd, l, o, v, n))
SHIM(EPOLL_CTL, int, epoll_ctl, (int e, int op, int fd, struct epoll_event *event), (e, op, fd, event))
SHIM(SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol))
SHIM(SHUTDOWN, int, shutdown, (int fd, int how), (fd, how))
SHIM(GETPEERNAME, int, getpeername, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
SHIM(GETSOCKNAME, int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
SHIM(SENDMSG, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
SHIM(RECVMSG, ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
