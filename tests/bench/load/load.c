/* The client. Every command talks to 127.0.0.1:PORT and prints one line of JSON, times in nanoseconds.
 *
 *   load rtt PORT SECONDS WARMUP                    64 B ping-pong on one established connection
 *   load connect PORT SECONDS WARMUP PAUSE [RESET]  connect, 64 B out, 64 B back, close (or reset): one after another
 *   load sessions PORT SECONDS WARMUP CONCURRENCY   the same, CONCURRENCY at a time: how many a second
 *   load refusals PORT SECONDS WARMUP CONCURRENCY   connect, wait until it is closed on us: how many a second
 *   load bulk PORT SECONDS WARMUP [RATE]            one connection, as many bytes as it carries, echoed; or RATE a second
 *   load cold PORT COUNT FIRST PAUSE                COUNT sessions like connect's, each from a source of its own
 *   load flood PORT SECONDS WARMUP CONCURRENCY      tries like connect's, CONCURRENCY at a time, from the beginning on:
 *                                                   how many were admitted, refused and reset, see flood() below
 *   load idle PORT                                  obeys lines on stdin, see idle() below
 *
 * Clients come from the address in the environment's SOURCE, if it is there; `cold` has its own. With SOURCES they come
 * from so many addresses in turn, from 127.1.0.0 on, and the first of them is that with the number in FIRST. TALK has what every
 * session begins with, such as a login, up to its first reply; ASK what `rtt` and `check` exchange after it. See talk.h:
 * both are 64 B out and 64 B back unless told.
 *
 * PAUSE is in seconds: none asks what a client waits for while the proxy still clears up behind the last one, some
 * asks what it waits for when the proxy has nothing else to do.
 *
 * It is pinned to the core of the proxy, so whatever it costs is on top of every peer's figure alike; it is
 * kept to the system calls a client cannot do without.
 */
#include "common.h"
#include "samples.h"
#include "talk.h"

#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

#define CHUNK (256 * 1024) /* bytes of one bulk write, and at most of one read */

static int port;
static uint64_t measured, warmup; /* nanoseconds */
static struct talk first, later; /* up to the first reply, and each exchange after it */

#define FIRST_SOURCE (INADDR_LOOPBACK - 1 + (1 << 16)) /* 127.1.0.0 */

static uint32_t source;           /* where clients come from, in host order; 0 leaves it to the kernel */
static uint32_t sources, sourced; /* how many addresses they come from in turn, and the number of the next one */

static int dial(int flags) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) die("socket");
    if (sources) source = FIRST_SOURCE + sourced++ % sources;
    if (source) {
        struct sockaddr_in from = loopback(0);
        int on = 1; /* ports are chosen by connect, so that they are scarce by both ends only */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        from.sin_addr.s_addr = htonl(source);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The first `count` steps of a talk on a blocking socket. */
static int say(int fd, const struct talk *talk, int count) {
    char reply[REPLY];
    for (const struct step *step = talk->steps; step < talk->steps + count; step++) {
        if (send(fd, step->out, step->size, MSG_NOSIGNAL) != (ssize_t)step->size) return 0;
        if (recv(fd, reply, step->back, MSG_WAITALL) != (ssize_t)step->back) return 0;
    }
    return 1;
}

static int begin(int fd) { return say(fd, &first, first.count); }

static int exchange(int fd) { return say(fd, &later, later.count); }

static void rtt(uint64_t seconds_ns, uint64_t warmup_ns) {
    struct samples samples = {0};
    int fd = dial(0);
    if (fd < 0) die("connect");
    no_delay(fd);
    if (!begin(fd)) die("first exchange");
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
        int good = fd >= 0 && begin(fd);
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
        source = FIRST_SOURCE + first + (uint32_t)i;
        uint64_t before = now_ns();
        int fd = dial(0);
        errors += !(fd >= 0 && begin(fd));
        printf("%s%lu", i ? ", " : "", (unsigned long)(now_ns() - before));
        if (fd >= 0) close(fd);
        if (pause_ns) give_way(pause_ns);
    }
    printf("], \"errors\": %lu}\n", errors);
}

/* A session under way in the closed loop. */
struct client {
    int fd, step; /* no descriptor while it is none */
    size_t got;   /* bytes of the step's reply */
};

static void watch(int poller, int op, struct client *client, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, op, client->fd, &event) < 0) die("epoll_ctl");
}

static int send_step(const struct client *client) {
    const struct step *step = &first.steps[client->step];
    return send(client->fd, step->out, step->size, MSG_NOSIGNAL) == (ssize_t)step->size;
}

/* On loopback the handshake is over when connect returns, so the request can go at once; only a full backlog leaves it
 * unfinished, and then the request waits for EPOLLOUT. */
static int start_client(int poller, struct client *client, int silent) {
    int fd = dial(SOCK_NONBLOCK);
    if (fd < 0) return 0;
    *client = (struct client){.fd = fd};
    watch(poller, EPOLL_CTL_ADD, client, silent || send_step(client) ? EPOLLIN : EPOLLOUT);
    return 1;
}

/* Go on with a talk after an event: 1 if there is more to come, 0 at its end, -1 if it failed. */
static int go_on(int poller, struct client *client, uint32_t events) {
    char reply[REPLY];
    if (events == EPOLLOUT) {
        if (!send_step(client)) return -1;
        watch(poller, EPOLL_CTL_MOD, client, EPOLLIN);
        return 1;
    }
    size_t back = first.steps[client->step].back;
    ssize_t got = recv(client->fd, reply, back - client->got, 0);
    if (got <= 0) return -1;
    if ((client->got += (size_t)got) < back) return 1;
    client->got = 0;
    if (++client->step == first.count) return 0;
    return send_step(client) ? 1 : -1;
}

static int is_refused(int fd) {
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

/* The closed loop of `sessions` and `refusals`: `concurrency` connections at any time. */
static void loop(int concurrency, int expect_refusal) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    unsigned long done = 0, errors = 0;
    uint64_t start = now_ns() + warmup, end = start + measured, now;
    struct epoll_event events[256];
    struct client *clients = calloc((size_t)concurrency, sizeof *clients);
    if (!clients) die("calloc");
    for (int i = 0; i < concurrency; i++) clients[i].fd = -1;
    while ((now = now_ns()) < end) {
        for (int i = 0; i < concurrency; i++)
            if (clients[i].fd < 0) errors += !start_client(poller, &clients[i], expect_refusal);
        int count = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            int state = expect_refusal ? -!is_refused(client->fd) : go_on(poller, client, events[i].events);
            if (state > 0) continue;
            if (state < 0) errors++;
            else if (now >= start) done++;
            close(client->fd);
            client->fd = -1;
        }
    }
    free(clients);
    double seconds = (double)(now - start) / (double)SECOND;
    printf("{\"count\": %lu, \"errors\": %lu, \"per_second\": %.1f}\n", done, errors, (double)done / seconds);
}

#define MISSES 256 /* that are listed, of those that were not refused in order */

static struct { uint64_t at; uint32_t source; int error; } misses[MISSES];
static unsigned long missed;

static void miss(uint32_t from, int error) {
    if (missed < MISSES) misses[missed].at = now_ns(), misses[missed].source = from, misses[missed].error = error;
    missed++;
}

static volatile sig_atomic_t enough;

static void be_told(int number) {
    (void)number;
    enough = 1;
}

/* Tries for some seconds, or until SIGTERM, each from its connect to its first reply. Prints how many were admitted; how many were closed
 * in order or reset without a byte; how many could not connect; the times of the first and the last try by
 * CLOCK_MONOTONIC; the durations of the admitted; and what failed: its time, its source, and the error's number, 0 for
 * an end in order. Tries that are under way at the end are waited for, for ten seconds at most. */
static void flood(int concurrency) {
    struct { struct client client; uint64_t began; uint32_t source; } *tries = calloc((size_t)concurrency, sizeof *tries);
    int poller = epoll_create1(EPOLL_CLOEXEC), busy = 0;
    unsigned long admitted = 0, ended = 0, unconnected = 0;
    struct samples samples = {0};
    struct epoll_event events[256];
    if (!tries) die("calloc");
    for (int i = 0; i < concurrency; i++) tries[i].client.fd = -1;
    uint64_t first_try = now_ns(), last_try = first_try, end = first_try + measured, now;
    signal(SIGTERM, be_told);
    while ((now = now_ns()) < end || (busy && now < end + 10 * SECOND)) {
        if (enough && now < end) end = now;
        for (int i = 0; now < end && i < concurrency; i++) {
            if (tries[i].client.fd >= 0) continue;
            tries[i].began = last_try = now_ns();
            int good = start_client(poller, &tries[i].client, 0);
            tries[i].source = source;
            if (good) busy++;
            else unconnected++, miss(source, errno);
        }
        int count = epoll_wait(poller, events, 256, 100);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            int n = (int)((char *)client - (char *)tries) / (int)sizeof *tries, error = 0;
            socklen_t size = sizeof error;
            getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            errno = 0;
            int state = error ? -1 : go_on(poller, client, events[i].events & EPOLLOUT && !(events[i].events & EPOLLIN) ? EPOLLOUT : EPOLLIN);
            if (state > 0) continue;
            if (!error) error = errno;
            if (state == 0) admitted++, keep(&samples, now_ns() - tries[n].began);
            else if (error == ECONNREFUSED || error == ETIMEDOUT) unconnected++, miss(tries[n].source, error);
            else ended++, miss(tries[n].source, error);
            close(client->fd);
            client->fd = -1;
            busy--;
        }
    }
    printf("{\"admitted\": %lu, \"ended\": %lu, \"unconnected\": %lu, \"unanswered\": %d, \"first_ns\": %lu, \"last_ns\": %lu, \"misses\": [",
           admitted, ended, unconnected, busy, (unsigned long)first_try, (unsigned long)last_try);
    for (unsigned long i = 0; i < missed && i < MISSES; i++)
        printf("%s[%lu, %u, %d]", i ? ", " : "", (unsigned long)misses[i].at, misses[i].source, misses[i].error);
    printf("], \"sessions\": ");
    print_samples(&samples, 0, admitted);
    printf("}\n");
}

static void bulk(uint64_t rate) {
    static char out[CHUNK], in[CHUNK];
    int fd = dial(0);
    if (fd < 0) die("connect");
    if (!begin(fd)) die("first exchange");
    if (rate && setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate) < 0) die("pacing");
    uint64_t start = now_ns() + warmup, end = start + measured, now, arrived = 0, bytes = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    while ((now = now_ns()) < end) {
        if (poll(&p, 1, 1000) <= 0) die("bulk: nothing moved for a second");
        if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t got = recv(fd, in, sizeof in, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN)) die("bulk: closed on us");
            if (now >= start && got > 0) {
                if (!arrived) arrived = now;
                bytes += (uint64_t)got;
            }
        }
        if (p.revents & POLLOUT && send(fd, out, sizeof out, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            die("bulk: send");
    }
    double seconds = (double)(now - arrived) / (double)SECOND;
    printf("{\"bytes\": %lu, \"errors\": 0, \"gbit_per_second\": %.4f}\n", (unsigned long)bytes, (double)bytes * 8 / seconds / 1e9);
}

/* Lines on stdin: `open N` opens N more sessions, up to the first reply of each, and holds them; `half N` does only
 * the first step of what they begin with; `check` exchanges once more on every held session; `rtt SECONDS WARMUP`
 * measures on one session more. One line of JSON answers each. The end of stdin closes everything. */
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
        int half = sscanf(line, "half %d", &more) == 1;
        if (half || sscanf(line, "open %d", &more) == 1) {
            if (!(held = realloc(held, sizeof *held * (size_t)(count + more)))) die("realloc");
            for (int i = 0; i < more; i++) {
                int fd = dial(0);
                if (fd < 0) {
                    errors++;
                    continue;
                }
                if (!say(fd, &first, half ? 1 : first.count)) errors++;
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
        fprintf(stderr, "usage: load rtt|connect|sessions|refusals|bulk|cold|flood|idle PORT [SECONDS WARMUP [PAUSE or CONCURRENCY]]\n");
        return 2;
    }
    const char *command = argv[1];
    port = atoi(argv[2]);
    measured = (uint64_t)((argc > 3 ? atof(argv[3]) : 1.0) * SECOND);
    warmup = (uint64_t)((argc > 4 ? atof(argv[4]) : 0.2) * SECOND);
    int concurrency = argc > 5 ? atoi(argv[5]) : 16;
    if (getenv("SOURCE")) source = ntohl(inet_addr(getenv("SOURCE")));
    if (getenv("SOURCES")) sources = (uint32_t)atoi(getenv("SOURCES"));
    if (getenv("FIRST")) sourced = (uint32_t)atoi(getenv("FIRST"));
    first = talk_of("TALK");
    later = talk_of("ASK");
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
    else if (!strcmp(command, "flood")) flood(concurrency);
    else if (!strcmp(command, "idle")) idle();
    else return 2;
    return 0;
}
