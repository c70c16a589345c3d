/* The upstream: a single-threaded echo server.
 *
 *   echo            listens on a free port of 127.0.0.1, prints the port, echoes until it is killed
 *
 * One read and one write per event and one shared buffer: it must cost less than the proxies it stands
 * behind. Only a connection whose reader lags owns memory, for the bytes its socket would not take.
 */
#include "common.h"

#include <sys/resource.h>

#define BUFFER (256 * 1024) /* bytes read at most at once */

struct pending {
    char *data;
    size_t start, end;
};

static char buffer[BUFFER];
static struct pending *pending; /* by file descriptor */
static int poller;

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

int main(void) {
    die_with_parent();
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (!(pending = calloc(files.rlim_max, sizeof *pending))) die("calloc");

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) < 0) die("bind");
    if (listen(listener, 4096) < 0) die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size) < 0) die("getsockname");
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

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
