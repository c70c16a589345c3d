/* The client of TLS 1.3, on OpenSSL. Every command talks to 127.0.0.1:PORT and prints one line of JSON.
 *
 *   tls connect PORT SECONDS WARMUP     connect, a full handshake, 64 B out, 64 B back, close: one after another
 *   tls rtt PORT SECONDS WARMUP         64 B ping-pong on one session
 *   tls bulk PORT SECONDS WARMUP        one session, as many bytes as it carries, echoed
 *   tls idle PORT                       obeys `open N`, which opens and holds N sessions, and `check`, as load does
 *
 * No session is resumed. The certificate is not looked at: its check would cost every peer the same.
 */
#include "common.h"
#include "samples.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <sys/resource.h>

#define CHUNK (256 * 1024)

static int port;
static uint64_t measured, warmup; /* nanoseconds */
static char ping[PING] = "trioedge bench ping";
static SSL_CTX *context;

/* A session whose handshake is done, or NULL. */
static SSL *dial(void) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    no_delay(fd);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return NULL;
    }
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    SSL_set_tlsext_host_name(tls, "bench.example");
    if (SSL_connect(tls) == 1) return tls;
    SSL_free(tls);
    close(fd);
    return NULL;
}

/* Close in order, as a browser does: the alert, and no wait for the peer's. */
static void hang_up(SSL *tls) {
    int fd = SSL_get_fd(tls);
    SSL_shutdown(tls);
    SSL_free(tls);
    close(fd);
}

static int exchange(SSL *tls) {
    char reply[PING];
    int got = 0, more = 1;
    if (SSL_write(tls, ping, PING) != PING) return 0;
    for (; got < PING && more > 0; got += more) more = SSL_read(tls, reply + got, PING - got);
    return got == PING;
}

static void rtt(void) {
    struct samples samples = {0};
    SSL *tls = dial();
    if (!tls) die("connect");
    uint64_t start = now_ns() + warmup, end = start + measured, before = now_ns();
    while (before < end) {
        if (!exchange(tls)) die("exchange");
        uint64_t after = now_ns();
        if (before >= start) keep(&samples, after - before);
        before = after;
    }
    hang_up(tls);
    print_samples(&samples, 0, samples.count);
}

static void connects(void) {
    struct samples samples = {0};
    unsigned long errors = 0, all = 0;
    uint64_t start = now_ns() + warmup, end = start + measured, before;
    while ((before = now_ns()) < end) {
        SSL *tls = dial();
        int good = tls && exchange(tls);
        uint64_t after = now_ns();
        if (!good) errors++;
        else if (before >= start) keep(&samples, after - before);
        if (tls) hang_up(tls);
        all++;
    }
    print_samples(&samples, errors, all);
}

/* Whether a call that did nothing may be made again. */
static int is_waiting(SSL *tls, int result) {
    int error = SSL_get_error(tls, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void bulk(void) {
    static char out[CHUNK], in[CHUNK];
    SSL *tls = dial();
    if (!tls) die("connect");
    struct pollfd p = {.fd = SSL_get_fd(tls), .events = POLLIN | POLLOUT};
    fcntl(p.fd, F_SETFL, O_NONBLOCK);
    uint64_t start = now_ns() + warmup, end = start + measured, now, arrived = 0, bytes = 0;
    while ((now = now_ns()) < end) {
        if (poll(&p, 1, 1000) <= 0) die("bulk: nothing moved for a second");
        int got = 1;
        for (int records = 0; records < 16 && (got = SSL_read(tls, in, sizeof in)) > 0; records++) {
            if (now < start) continue;
            if (!arrived) arrived = now;
            bytes += (uint64_t)got;
        }
        if (got <= 0 && !is_waiting(tls, got)) die("bulk: closed on us");
        int sent = p.revents & POLLOUT ? SSL_write(tls, out, sizeof out) : 1;
        if (sent <= 0 && !is_waiting(tls, sent)) die("bulk: send");
    }
    double seconds = (double)(now - arrived) / (double)SECOND;
    printf("{\"bytes\": %lu, \"errors\": 0, \"gbit_per_second\": %.4f}\n", (unsigned long)bytes, (double)bytes * 8 / seconds / 1e9);
}

static void idle(void) {
    char line[128];
    SSL **held = NULL;
    int count = 0, more;
    while (fgets(line, sizeof line, stdin)) {
        unsigned long errors = 0;
        if (sscanf(line, "open %d", &more) == 1) {
            if (!(held = realloc(held, sizeof *held * (size_t)(count + more)))) die("realloc");
            for (int i = 0; i < more; i++) {
                SSL *tls = dial();
                if (tls && exchange(tls)) held[count++] = tls;
                else errors++;
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
        fprintf(stderr, "usage: tls connect|rtt|bulk|idle PORT [SECONDS WARMUP]\n");
        return 2;
    }
    port = atoi(argv[2]);
    measured = (uint64_t)((argc > 3 ? atof(argv[3]) : 1.0) * SECOND);
    warmup = (uint64_t)((argc > 4 ? atof(argv[4]) : 0.2) * SECOND);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);

    const char *command = argv[1];
    if (!strcmp(command, "connect")) connects();
    else if (!strcmp(command, "rtt")) rtt();
    else if (!strcmp(command, "bulk")) bulk();
    else if (!strcmp(command, "idle")) idle();
    else return 2;
    return 0;
}
