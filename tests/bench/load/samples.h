/* Durations in nanoseconds, all kept: percentiles are exact, not interpolated from buckets. */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include "common.h"

struct samples {
    uint64_t *ns;
    size_t count, room;
};

static inline void keep(struct samples *s, uint64_t ns) {
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 1 << 18;
        if (!(s->ns = realloc(s->ns, s->room * sizeof *s->ns))) die("realloc");
    }
    s->ns[s->count++] = ns;
}

static inline int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest sample that at least `percent` of all samples do not exceed. */
static inline uint64_t percentile(const struct samples *s, double percent) {
    size_t rank = (size_t)(percent / 100.0 * (double)s->count + 0.999999);
    return s->ns[rank ? (rank > s->count ? s->count : rank) - 1 : 0];
}

/* `all` counts what was not measured, too. */
static inline void print_samples(struct samples *s, unsigned long errors, unsigned long all) {
    if (!s->count) {
        printf("{\"count\": 0, \"errors\": %lu}\n", errors);
    } else {
        qsort(s->ns, s->count, sizeof *s->ns, by_value);
        printf("{\"count\": %zu, \"all\": %lu, \"errors\": %lu, \"min_ns\": %lu, \"p50_ns\": %lu, \"p99_ns\": %lu, \"p999_ns\": %lu, \"max_ns\": %lu}\n",
               s->count, all, errors, (unsigned long)s->ns[0], (unsigned long)percentile(s, 50),
               (unsigned long)percentile(s, 99), (unsigned long)percentile(s, 99.9), (unsigned long)s->ns[s->count - 1]);
    }
    fflush(stdout);
}

#endif
