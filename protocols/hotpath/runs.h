/* Frames that are all of one layout, four side by side: what is the same for all of them is loaded once, and whether they are as
 * they should be is asked once for the four. Where they are not, the walk looks at each of them. */
#ifndef TELELOOP_RUNS_H
#define TELELOOP_RUNS_H

typedef struct { uint8_t *rows, *status; int32_t *ids; uint32_t *starts; size_t room, written, troubled; plan_t *last; int sorts; } walk_t;
typedef struct { PyObject **list; const uint8_t *data; const uint32_t *offsets; size_t n; } frames_t; /* a list, or a buffer */

static inline const uint8_t *frame_at(const frames_t *f, size_t i, size_t *size) {
    if (f->list)
        return *size = (size_t)PyBytes_GET_SIZE(f->list[i]), (const uint8_t *)PyBytes_AS_STRING(f->list[i]);
    return *size = f->offsets[i + 1] - f->offsets[i], f->data + f->offsets[i];
}

/* Objects lie anywhere: they are fetched while others are worked on. `like`: the size of the frame before. */
static inline void fetch_object(const PyObject *object, size_t like) {
    const char *each = (const char *)object;
    like += offsetof(PyBytesObject, ob_sval) + 48;             /* wherever its first cache line begins */
    fetch(each, 1);
    if (like > 64)
        fetch(each + 64, 1);
    if (like > 128)
        fetch(each + 128, 1);
    if (like > 192)
        fetch(each + 192, (like < 1024 ? like : 1024) - 192);
}

static inline void fetch_ahead(const frames_t *f, size_t i, size_t like) {
    if (f->list && i + TILE < f->n)
        fetch_object(f->list[i + TILE], like);
}

/* The same of frames of several parts, which are few, but long. */
static inline void fetch_long(const frames_t *f, size_t i, size_t like) {
    if (f->list && i + 3 < f->n)
        fetch((const char *)f->list[i + 3], (like < 2048 ? like : 2048) + offsetof(PyBytesObject, ob_sval) + 48);
}

/* Room that is soon written, out of turn. */
static inline void fetch_room(const uint8_t *to, size_t size) {
#if defined(__GNUC__)
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch(to + at, 1);
    __asm__ volatile("");
#endif
}

static inline void fetch_row(const table_t *t, const walk_t *w, size_t place) {
    fetch_room(w->rows + place * t->row_size, t->row_size);
}

#if SIMD
/* A row that is not vouched for after all. */
static __attribute__((noinline)) void doubt(const table_t *t, walk_t *w, size_t place) {
    memset(w->rows + place * t->row_size, 0, t->row_size);
    w->ids[place] = -1, w->status[place] = DOUBTFUL, w->troubled++;
}
#endif

#define CROWD 128                                              /* layouts at a time that are told apart */
#define PARTS 1024
#define PATIENCE 64                                            /* frames that are walked one by one after a guess was wrong */
typedef struct {                                               /* parts of some frames that follow each other, and their layouts */
    uint32_t n, groups, count[CROWD];
    uint8_t slot[2 * CROWD];                                   /* by a plan's number: its group, plus 1 */
    plan_t *plan[CROWD];
    uint8_t of[PARTS];
    const uint8_t *part[PARTS];
    uint16_t order[PARTS + NEAR + 4];
} parts_t;

/* A plan's group; CROWD if there are too many. */
static inline uint32_t group_of_plan(parts_t *c, plan_t *plan) {
    uint32_t slot = plan->id % (2 * CROWD);
    while (c->slot[slot] && c->plan[c->slot[slot] - 1] != plan)
        slot = (slot + 1) % (2 * CROWD);
    if (!c->slot[slot] && c->groups < CROWD)
        c->plan[c->groups++] = plan, c->slot[slot] = (uint8_t)c->groups;
    return c->slot[slot] ? c->slot[slot] - 1u : CROWD;
}

#if SIMD
/* Whether four frames say what the plan's checks say. */
TARGET_WIDE INLINE int four_agree(const table_t *t, const plan_t *plan, const uint8_t *const p[4]) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    __m256i wrong = _mm256_setzero_si256();
    for (const check_t *end = check + plan->rest->checks; check < end; check++, place++) {
        const __m256i mask = wide_at(check->mask), value = wide_at(check->value);
        const size_t at = *place;
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            wrong = _mm256_or_si256(wrong, _mm256_and_si256(mask, _mm256_xor_si256(value, wide_at(p[k] + at))));
    }
    return _mm256_testz_si256(wrong, wrong);
}

/* The rows of four frames of this plan. */
TARGET_WIDE INLINE void fill_four(const table_t *t, const plan_t *plan, const uint8_t *const p[4], uint8_t *const row[4]) {
    for (const step_t *s = plan->rest->step, *end = s + plan->rest->steps; s < end; s++) {
        const size_t to = s->to;
        __m256i v[4];
        {
            const __m256i order = wide_at(s->order);
            const size_t a = s->a, b = s->b;
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                v[k] = both_from(p[k], a, b, order);
        }
        if (s->present) {
            const __m256i present = wide_at(plan->order + t->at.present + to);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                v[k] = _mm256_or_si256(v[k], present);
        }
        while (s->more) {
            const __m256i order = wide_at((++s)->order);
            const size_t a = s->a, b = s->b;
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                v[k] = _mm256_or_si256(v[k], both_from(p[k], a, b, order));
        }
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            _mm256_storeu_si256((__m256i *)(row[k] + to), v[k]);
    }
}

/* Whether all these rows are within bounds: if not, each may be right all the same. */
TARGET_WIDE INLINE int all_bounded(const table_t *t, uint8_t *const row[], uint32_t n) {
    if (!t->bounded)
        return 0;
    __m256i right = _mm256_set1_epi8(-1);
    for (uint32_t k = 0; k < t->bands; k++) {
        const __m256i low = wide_at(t->band[k].low), high = wide_at(t->band[k].high);
        const size_t at = t->band[k].at;
#pragma GCC unroll 4
        for (uint32_t i = 0; i < n; i++) {
            const __m256i v = wide_at(row[i] + at);
            right = _mm256_and_si256(right, _mm256_cmpeq_epi8(_mm256_max_epu8(_mm256_min_epu8(v, high), low), v));
        }
    }
    uint64_t wrong = 0;
    for (uint32_t k = 0; k < t->spans; k++) {
        const span_t s = t->span[k];
#pragma GCC unroll 4
        for (uint32_t i = 0; i < n; i++)
            wrong |= (load64(row[i] + s.at) & s.mask) - s.low > s.span;
    }
    return !wrong & (_mm256_movemask_epi8(right) == -1);
}
#endif

#endif
