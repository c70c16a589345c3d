/* A bare relay, the floor under every proxy: one edge-triggered epoll loop, one buffer, no limits, no deadlines.
 *
 *   relay PORT UPSTREAM        relays 127.0.0.1:PORT to 127.0.0.1:UPSTREAM until it is killed
 *
 * Each side reads until the other takes no more; bytes that a slow reader leaves are kept by the side that sent them,
 * and its events are asked for again when the reader has room. A half-close is passed on, a failure resets both.
 */
#include "common.h"

#include <sys/resource.h>

#define BUFFER (64 * 1024)

struct side {
    int fd, ended, over; /* `ended`: its last byte was read; `over`: its session is closed */
    struct side *other;
    char *left; /* bytes of its own that the other side has not taken */
    size_t start, end;
};

static char buffer[BUFFER];
static int poller, upstream;
static struct side *closed[1024]; /* freed behind the batch, because an event of it may still hold them */
static int closed_count;

static void watch(int fd, void *data, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void finish(struct side *side, int hard) {
    struct linger linger = {1, 0};
    for (int i = 0; i < 2; i++, side = side->other) {
        if (hard) setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(side->fd);
        side->over = 1;
        closed[closed_count++] = side;
    }
}

/* Send what is left of a side; 1 if all of it is gone, 0 if the other side takes no more, -1 if it failed. */
static int flush(struct side *side) {
    while (side->start < side->end) {
        ssize_t sent = send(side->other->fd, side->left + side->start, side->end - side->start, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        side->start += (size_t)sent;
    }
    free(side->left);
    side->left = NULL;
    side->start = side->end = 0;
    return 1;
}

/* Move bytes of a side to the other until one of them has no more to do. */
static void pump(struct side *side) {
    if (side->left) {
        int gone = flush(side);
        if (gone < 0) finish(side, 1);
        if (gone <= 0) return;
    }
    while (!side->ended) {
        ssize_t got = recv(side->fd, buffer, BUFFER, 0);
        if (got < 0) {
            if (errno != EAGAIN && errno != ENOTCONN) finish(side, 1);
            return;
        }
        if (got == 0) {
            side->ended = 1;
            if (side->other->ended) finish(side, 0);
            else shutdown(side->other->fd, SHUT_WR);
            return;
        }
        ssize_t sent = send(side->other->fd, buffer, (size_t)got, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) {
            finish(side, 1);
            return;
        }
        if (sent < 0) sent = 0;
        if (sent < got) {
            side->end = (size_t)(got - sent);
            if (!(side->left = malloc(side->end))) die("malloc");
            memcpy(side->left, buffer + sent, side->end);
            return;
        }
        if (got < BUFFER) return; /* a short read has emptied the socket */
    }
}

static void greet(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = loopback(upstream);
        if (out < 0 || (connect(out, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)) {
            close(fd);
            if (out >= 0) close(out);
            continue;
        }
        no_delay(fd);
        no_delay(out);
        struct side *down = calloc(1, sizeof *down), *up = calloc(1, sizeof *up);
        if (!down || !up) die("calloc");
        *down = (struct side){.fd = fd, .other = up};
        *up = (struct side){.fd = out, .other = down};
        watch(fd, down, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        watch(out, up, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 3) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = loopback(atoi(argv[1]));
    upstream = atoi(argv[2]);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(listener, 4096) < 0) die("listen");
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, NULL, EPOLLIN);
    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(poller, events, 256, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct side *side = events[i].data.ptr;
            if (!side) {
                greet(listener);
                continue;
            }
            if (!side->over && events[i].events & EPOLLERR) finish(side, 1);
            if (!side->over && events[i].events & EPOLLOUT) pump(side->other);
            if (!side->over) pump(side);
        }
        while (closed_count) {
            free(closed[--closed_count]->left);
            free(closed[closed_count]);
        }
    }
}
