/* What a client says and hears before its bytes flow: steps, each of which sends bytes and expects a number of them.
 *
 * Written as HEX:COUNT, with a space between two steps, as in "050100:2 05010001...:10".
 */
#ifndef BENCH_TALK_H
#define BENCH_TALK_H

#include "common.h"

#define STEPS 8
#define REPLY (16 * 1024) /* bytes that one step may expect */

struct step {
    char *out;
    size_t size, back;
};

struct talk {
    struct step steps[STEPS];
    int count;
};

/* A step that sends PING bytes, and expects them back. */
static inline struct talk ping_talk(void) {
    static char ping[PING] = "trioedge bench ping";
    return (struct talk){.steps = {{ping, PING, PING}}, .count = 1};
}

/* The talk in an environment variable, or a ping where it is not set. */
static inline struct talk talk_of(const char *name) {
    const char *at = getenv(name);
    if (!at) return ping_talk();
    struct talk talk = {0};
    while (*at && talk.count < STEPS) {
        size_t digits = strspn(at, "0123456789abcdef");
        struct step *step = &talk.steps[talk.count++];
        if (!(step->out = malloc(digits / 2 + 1))) die("malloc");
        for (; step->size < digits / 2; step->size++) {
            unsigned byte;
            sscanf(at + 2 * step->size, "%2x", &byte);
            step->out[step->size] = (char)byte;
        }
        char *end;
        if (at[digits] != ':' || (step->back = strtoul(at + digits + 1, &end, 10)) > REPLY) break;
        at = end + (*end == ' ');
    }
    if (*at || !talk.count) {
        fprintf(stderr, "%s is no talk: write HEX:COUNT, at most %d of them\n", name, STEPS);
        exit(2);
    }
    return talk;
}

#endif
