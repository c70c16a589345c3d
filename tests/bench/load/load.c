/* The client. Every command talks to 127.0.0.1:PORT and prints one line of JSON, times in nanoseconds.
 *
 *   load rtt PORT SECONDS WARMUP                    64 B ping-pong on one established connection
 *   load connect PORT SECONDS WARMUP PAUSE [RESET]  connect, 64 B out, 64 B back, close (or reset): one after another
 *   load sessions PORT SECONDS WARMUP CONCURRENCY   the same, CONCURRENCY at a time: how many a second
 *   load refusals PORT SECONDS WARMUP CONCURRENCY   connect, wait until it is closed on us: how many a second
 *   load bulk PORT SECONDS WARMUP [RATE]            one connection, as many bytes as it carries, echoed; or RATE a second
 *   load cold PORT COUNT FIRST PAUSE                COUNT sessions like connect's, each from a source of its own
 *   load idle PORT                                  obeys lines on stdin, see idle() below
 *
 * Clients come from the address in the environment's SOURCE, if it is there; `cold` has its own.
 *
 * PAUSE is in seconds: none asks what a client waits for while the proxy still clears up behind the last one, some
 * asks what it waits for when the proxy has nothing else to do.
 *
 * It is pinned to the core of the proxy, so whatever it costs is on top of every peer's figure alike; it is
 * kept to the system calls a client cannot do without.
 */
#include "common.h"
#include "samples.h"

#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

#define CHUNK (256 * 1024) /* bytes of one bulk write, and at most of one read */

static int port;
static uint64_t measured, warmup; /* nanoseconds */
static char ping[PING] = "trioedge bench ping";

static uint32_t source; /* where clients come from, in host order; 0 leaves it to the kernel */

static int dial(int flags) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) die("socket");
    if (source) {
        struct sockaddr_in from = loopback(0);
        from.sin_addr.s_addr = htonl(source);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One 64 B exchange on a blocking socket. */
static int exchange(int fd) {
    char reply[PING];
    if (send(fd, ping, PING, MSG_NOSIGNAL) != PING) return 0;
    return recv(fd, reply, PING, MSG_WAITALL) == PING;
}

static void rtt(uint64_t seconds_ns, uint64_t warmup_ns) {
    struct samples samples = {0};
    int fd = dial(0);
    if (fd < 0) die("connect");
    no_delay(fd);
    uint64_t start = now_ns() + warmup_ns, end = start + seconds_ns, before = now_ns();
    while (before < end) {
        if (!exchange(fd)) die("exchange");
        uint64_t after = now_ns();
        if (before >= start) keep(&samples, after - before);
        before = after;
    }
    close(fd);
    print_samples(&samples, 0, samples.count);
    free(samples.ns);
}

/* Let everybody else on this core finish what the last session left to do. Sleeping would let the core go idle,
 * and what an idle virtual core takes to wake up is more than what is measured. */
static void give_way(uint64_t pause_ns) {
    for (uint64_t end = now_ns() + pause_ns; now_ns() < end;) sched_yield();
}

static void connects(uint64_t pause_ns, int resets) {
    struct samples samples = {0};
    struct linger linger = {1, 0};
    unsigned long errors = 0, all = 0;
    uint64_t start = now_ns() + warmup, end = start + measured, before;
    while ((before = now_ns()) < end) {
        int fd = dial(0);
        int good = fd >= 0 && exchange(fd);
        uint64_t after = now_ns();
        if (!good) errors++;
        else if (before >= start) keep(&samples, after - before);
        if (fd >= 0 && resets) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        if (fd >= 0) close(fd);
        all++;
        if (pause_ns) give_way(pause_ns);
    }
    print_samples(&samples, errors, all);
}

/* Sessions from 127.1.0.0 + `first` on, one address each; every duration is printed, in order. */
static void cold(int count, uint32_t first, uint64_t pause_ns) {
    unsigned long errors = 0;
    printf("{\"ns\": [");
    for (int i = 0; i < count; i++) {
        source = INADDR_LOOPBACK - 1 + (1 << 16) + first + (uint32_t)i;
        uint64_t before = now_ns();
        int fd = dial(0);
        errors += !(fd >= 0 && exchange(fd));
        printf("%s%lu", i ? ", " : "", (unsigned long)(now_ns() - before));
        if (fd >= 0) close(fd);
        if (pause_ns) give_way(pause_ns);
    }
    printf("], \"errors\": %lu}\n", errors);
}

/* The closed loop of `sessions` and `refusals`: `concurrency` connections at any time. */
static void loop(int concurrency, int expect_refusal) {
    int poller = epoll_create1(EPOLL_CLOEXEC), open = 0;
    unsigned long done = 0, errors = 0;
    uint64_t start = now_ns() + warmup, end = start + measured, now;
    struct epoll_event events[256];
    char reply[PING];
    while ((now = now_ns()) < end) {
        for (; open < concurrency; open++) {
            int fd = dial(SOCK_NONBLOCK);
            if (fd < 0) {
                errors++;
                break;
            }
            /* On loopback the handshake is over when connect returns, so the request can go at once; only a
             * full backlog leaves it unfinished, and then the request waits for EPOLLOUT. */
            int sent = expect_refusal || send(fd, ping, PING, MSG_NOSIGNAL) == PING;
            struct epoll_event event = {.events = sent ? EPOLLIN : EPOLLOUT, .data.fd = fd};
            if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
        }
        int count = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (events[i].events == EPOLLOUT) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
                if (send(fd, ping, PING, MSG_NOSIGNAL) == PING && !epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event)) continue;
            }
            ssize_t got = recv(fd, reply, PING, 0);
            int refused = got == 0 || (got < 0 && errno == ECONNRESET);
            if (expect_refusal ? !refused : got != PING) errors++;
            else if (now >= start) done++;
            close(fd);
            open--;
        }
    }
    double seconds = (double)(now - start) / (double)SECOND;
    printf("{\"count\": %lu, \"errors\": %lu, \"per_second\": %.1f}\n", done, errors, (double)done / seconds);
}

static void bulk(uint64_t rate) {
    static char out[CHUNK], in[CHUNK];
    int fd = dial(0);
    if (fd < 0) die("connect");
    if (rate && setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate) < 0) die("pacing");
    uint64_t start = now_ns() + warmup, end = start + measured, now, first = 0, bytes = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    while ((now = now_ns()) < end) {
        if (poll(&p, 1, 1000) <= 0) die("bulk: nothing moved for a second");
        if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t got = recv(fd, in, sizeof in, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN)) die("bulk: closed on us");
            if (now >= start && got > 0) {
                if (!first) first = now;
                bytes += (uint64_t)got;
            }
        }
        if (p.revents & POLLOUT && send(fd, out, sizeof out, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            die("bulk: send");
    }
    double seconds = (double)(now - first) / (double)SECOND;
    printf("{\"bytes\": %lu, \"errors\": 0, \"gbit_per_second\": %.4f}\n", (unsigned long)bytes, (double)bytes * 8 / seconds / 1e9);
}

/* Lines on stdin: `open N` opens N more sessions, one exchange each, and holds them; `check` exchanges once
 * more on every held session; `rtt SECONDS WARMUP` measures on one session more. One line of JSON answers
 * each. The end of stdin closes everything. */
static void idle(void) {
    char line[128];
    int *held = NULL, count = 0, more;
    double seconds, warm;
    while (fgets(line, sizeof line, stdin)) {
        unsigned long errors = 0;
        if (sscanf(line, "rtt %lf %lf", &seconds, &warm) == 2) {
            rtt((uint64_t)(seconds * SECOND), (uint64_t)(warm * SECOND));
            continue;
        }
        if (sscanf(line, "open %d", &more) == 1) {
            if (!(held = realloc(held, sizeof *held * (size_t)(count + more)))) die("realloc");
            for (int i = 0; i < more; i++) {
                int fd = dial(0);
                if (fd < 0) {
                    errors++;
                    continue;
                }
                if (!exchange(fd)) errors++;
                held[count++] = fd;
            }
        } else {
            for (int i = 0; i < count; i++) errors += !exchange(held[i]);
        }
        printf("{\"held\": %d, \"errors\": %lu}\n", count, errors);
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 3) {
        fprintf(stderr, "usage: load rtt|connect|sessions|refusals|bulk|cold|idle PORT [SECONDS WARMUP [PAUSE or CONCURRENCY]]\n");
        return 2;
    }
    const char *command = argv[1];
    port = atoi(argv[2]);
    measured = (uint64_t)((argc > 3 ? atof(argv[3]) : 1.0) * SECOND);
    warmup = (uint64_t)((argc > 4 ? atof(argv[4]) : 0.2) * SECOND);
    int concurrency = argc > 5 ? atoi(argv[5]) : 16;
    if (getenv("SOURCE")) source = ntohl(inet_addr(getenv("SOURCE")));
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    if (!strcmp(command, "rtt")) rtt(measured, warmup);
    else if (!strcmp(command, "connect")) connects((uint64_t)((argc > 5 ? atof(argv[5]) : 0) * SECOND), argc > 6 && atoi(argv[6]));
    else if (!strcmp(command, "sessions")) loop(concurrency, 0);
    else if (!strcmp(command, "refusals")) loop(concurrency, 1);
    else if (!strcmp(command, "bulk")) bulk(argc > 5 ? (uint64_t)atof(argv[5]) : 0);
    else if (!strcmp(command, "cold") && argc > 5) cold(atoi(argv[3]), (uint32_t)atoi(argv[4]), (uint64_t)(atof(argv[5]) * SECOND));
    else if (!strcmp(command, "idle")) idle();
    else return 2;
    return 0;
}
