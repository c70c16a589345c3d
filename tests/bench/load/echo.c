/* The upstream: a single-threaded echo server.
 *
 *   echo [CORES]    listens on a free port of 127.0.0.1, prints the port, echoes until it is killed
 *
 * With CORES it is so many processes on one port, one on each core, and a connection goes to that of the core from which
 * it was made: each core has its own upstream.
 *
 * One read and one write per event and one shared buffer: it must cost less than the proxies it stands
 * behind. Only a connection whose reader lags owns memory, for the bytes its socket would not take.
 */
#include "common.h"

#include <linux/filter.h>
#include <sched.h>
#include <sys/resource.h>

#define BUFFER (256 * 1024) /* bytes read at most at once */

struct pending {
    char *data;
    size_t start, end;
};

static char buffer[BUFFER];
static struct pending *pending; /* by file descriptor */
static int poller;
static int core; /* of this process, where there are several */

static void watch(int fd, int op, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, op, fd, &event) < 0) die("epoll_ctl");
}

static void drop(int fd) {
    free(pending[fd].data);
    pending[fd] = (struct pending){0};
    close(fd);
}

static void greet(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    no_delay(fd);
    watch(fd, EPOLL_CTL_ADD, EPOLLIN);
}

/* The reader lags: keep what is left and read no more until it went out. */
static void postpone(int fd, const char *data, size_t size) {
    struct pending *p = &pending[fd];
    if (!(p->data = malloc(size))) die("malloc");
    memcpy(p->data, data, size);
    p->start = 0;
    p->end = size;
    watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void echo(int fd) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    ssize_t sent = write(fd, buffer, (size_t)got);
    if (sent < 0 && errno != EAGAIN) {
        drop(fd);
        return;
    }
    if (sent < 0) sent = 0;
    if (sent < got) postpone(fd, buffer + sent, (size_t)(got - sent));
}

static void flush(int fd) {
    struct pending *p = &pending[fd];
    ssize_t sent = write(fd, p->data + p->start, p->end - p->start);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
        drop(fd);
        return;
    }
    p->start += (size_t)sent;
    if (p->start < p->end) return;
    free(p->data);
    *p = (struct pending){0};
    watch(fd, EPOLL_CTL_MOD, EPOLLIN);
}

/* Have the kernel choose among the sockets of this port by the core that a connection comes from. */
static void choose_by_core(int listener) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_CPU)),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = 2, .filter = code};
    if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) < 0) die("steering");
}

static int listen_on(struct sockaddr_in *address) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)address, size) < 0) die("bind");
    if (listen(listener, 4096) < 0) die("listen");
    if (getsockname(listener, (struct sockaddr *)address, &size) < 0) die("getsockname");
    return listener;
}

/* Be the echo of core 0 here and of each other core in a child; give the listener of this process. */
static int on_cores(int cores, struct sockaddr_in *address) {
    int listeners[CPU_SETSIZE];
    for (int i = 0; i < cores; i++) listeners[i] = listen_on(address);
    choose_by_core(listeners[0]);
    for (int i = 1; i < cores && !core; i++)
        if (!fork()) core = i, die_with_parent();
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(core, &own);
    if (sched_setaffinity(0, sizeof own, &own) < 0) die("sched_setaffinity");
    for (int i = 0; i < cores; i++)
        if (core && i != core) close(listeners[i]); /* the first process keeps all, so that their order stays */
    return listeners[core];
}

int main(int argc, char **argv) {
    die_with_parent();
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (!(pending = calloc(files.rlim_max, sizeof *pending))) die("calloc");

    struct sockaddr_in address = loopback(0);
    int listener = argc > 1 ? on_cores(atoi(argv[1]), &address) : listen_on(&address);
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    if (!core) {
        printf("%d\n", ntohs(address.sin_port));
        fflush(stdout);
    }

    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(poller, events, 256, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) greet(fd);
            else if (events[i].events & EPOLLOUT) flush(fd);
            else if (pending[fd].data) drop(fd); /* hung up while it lagged */
            else echo(fd);
        }
    }
}
