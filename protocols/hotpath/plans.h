/* Layouts that were learnt: how a part (a frame, or one of the records in it) of exactly these structural bytes becomes a row.
 *
 * A plan checks every byte that is not data, so it cannot be applied to what it was not made for. All windows that it reads
 * (8 bytes to check, 16 to move) lie inside the part: nothing is read behind its end. */
#ifndef TELELOOP_PLANS_H
#define TELELOOP_PLANS_H

#include <stdlib.h>

#include "crc.h"
#include "seal.h"

enum { VOUCHED, UNFRAMED, CHECKSUM, UNKNOWN, DOUBTFUL };       /* what is known of a frame */
enum { SUM_NONE, SUM_CRC, SUM_XOR };
enum { GUARD_RANGE, GUARD_TEXT, GUARD_DATE };
#define WINDOWS 8
#define GUARDS 24
#define BUCKETS 8192
#define QUICK 1024
#define PART_LIMIT 2048

typedef struct {
    uint64_t mask;
    uint32_t at;
} check_t;

enum { ONTO, CONSTANT, ZERO };
typedef struct {                                               /* 16 bytes in another order: onto what is there, or begins `to` */
    uint16_t from, to, first;
    uint8_t order[16];
} move_t;

typedef struct group {                                         /* layouts that have their structure in the same places */
    uint64_t key, context;
    struct group *next;
    uint32_t size, checks, plans;
    check_t check[];
} group_t;

typedef struct plan {
    group_t *group;
    uint64_t hash, used;
    struct plan *next;
    uint32_t size, id, extras, lays;
    uint64_t *value, *present;                                 /* of each check; the row's bitmap */
    uint8_t (*order)[16];                                      /* for each block of the row, in the table's order: which bytes */
    uint16_t *from;                                            /* of the 16 from here on */
    move_t *extra, *lay;                                       /* what else belongs into the row; the row to the part */
    uint8_t *part, *head;                                      /* the part without data; what stands before the parts */
    uint32_t head_size;
} plan_t;

typedef struct { int64_t at; uint64_t mask; int64_t context; } window_t; /* context: -1 any */
typedef struct { int64_t kind, at, width, low, high; } guard_t;

typedef struct { /* Where frames begin and end; all int64, in the order of plans.py */
    int64_t sync_mask, sync, least, length_at, length_width, length_big, length_add;
    int64_t sum_kind, sum_from, sum_trail, sum_at, sum_width, sum_big; /* covers sum_from .. size - sum_trail; stands sum_at before the end */
    int64_t crc_width, crc_poly, crc_init, crc_reflected, crc_xorout;
    int64_t parts, count_at, again_at, parts_from, parts_trail;  /* count again: again_at before the end */
    int64_t context_at, context_mask;
    int64_t tag_size, tag_trail;                               /* the seal: tag_size bytes, ending tag_trail before the end */
} framing_t;

typedef struct {
    framing_t framing;
    crc_t crc;
    uint32_t row_size, present_size, capacity, windows, guards, n;
    uint64_t now;
    window_t window[WINDOWS];
    guard_t guard[GUARDS];
    uint64_t length_mask, sum_mask;
    plan_t **plan;                                             /* by id */
    plan_t *quick[QUICK];                                      /* found last with such windows: mostly the right one */
    group_t *groups[BUCKETS];
    plan_t *bucket[BUCKETS];
    int busy;                                                  /* walks under way without the GIL */
} table_t;

#define TILE 32
typedef struct {                                               /* frames that are worked on side by side */
    const uint8_t *frame[TILE];
    size_t size[TILE];
    uint32_t n;
} tile_t;

static inline void fetch(const void *from, size_t size) {
#if defined(__GNUC__)
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const char *)from + at);
#endif
}

/* Words are multiplied by numbers of their own, side by side; what is found by such a hash is compared with the bytes. */
static inline uint64_t spread(uint64_t word, uint32_t place) {
    return (word ^ word >> 29) * (0x9E3779B97F4A7C15ull + 2 * 0xA24BAED4963EE407ull * place);
}

static inline uint64_t mixed(uint64_t sum) {
    return sum ^ sum >> 32;
}

static inline uint64_t key_of(const table_t *t, const uint8_t *p, size_t left, uint64_t context) {
    uint64_t key = spread(t->framing.parts ? 0 : left, 0) + spread(context, 1);
    for (uint32_t i = 0; i < t->windows; i++) {
        const window_t *w = &t->window[i];
        if ((w->context < 0 || (uint64_t)w->context == context) && (size_t)w->at + 8 <= left)
            key += spread(load64(p + w->at) & w->mask, 2 + i);
    }
    return mixed(key);
}

static inline int fits(const table_t *t, const plan_t *plan, const uint8_t *p, size_t left, uint64_t context) {
    const group_t *g = plan->group;
    if (t->framing.parts ? g->size > left : g->size != left)
        return 0;
    uint64_t wrong = g->context ^ context;
    for (uint32_t i = 0; i < g->checks; i++)
        wrong |= (load64(p + g->check[i].at) & g->check[i].mask) ^ plan->value[i];
    return !wrong;
}

static inline uint64_t hash_of(const group_t *g, const uint8_t *p) {
    uint64_t hash = g->key;
    for (uint32_t i = 0; i < g->checks; i++)
        hash += spread(load64(p + g->check[i].at) & g->check[i].mask, i);
    return mixed(hash);
}

static inline plan_t *found(table_t *t, const uint8_t *p, size_t left, uint64_t context, plan_t *guess) {
    if (guess && fits(t, guess, p, left, context))
        return guess;
    uint64_t key = key_of(t, p, left, context);
    plan_t **quick = &t->quick[key % QUICK];
    if (*quick && fits(t, *quick, p, left, context))
        return *quick;
    for (const group_t *g = t->groups[key % BUCKETS]; g; g = g->next) {
        if (g->key != key || g->size > left)
            continue;
        uint64_t hash = hash_of(g, p);
        for (plan_t *plan = t->bucket[hash % BUCKETS]; plan; plan = plan->next)
            if (plan->hash == hash && plan->group == g && fits(t, plan, p, left, context))
                return *quick = plan;
    }
    return NULL;
}

/* A number of at most 8 bytes, of which `mask` are its own, whose 8 bytes lie inside the frame. */
static inline uint64_t masked(const uint8_t *p, int64_t width, int64_t big, uint64_t mask) {
    uint64_t v = load64(p);
    return big ? __builtin_bswap64(v) >> (64 - 8 * width) : v & mask;
}

static inline void put_number(uint8_t *p, uint64_t v, int64_t width, int64_t big) {
    for (int64_t i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> 8 * (big ? width - 1 - i : i));
}

static inline int framed(const table_t *t, const uint8_t *p, size_t n) {
    const framing_t *f = &t->framing;
    if (n < (size_t)f->least || (load64(p) & (uint64_t)f->sync_mask) != (uint64_t)f->sync)
        return 0;
    return !f->length_width || masked(p + f->length_at, f->length_width, f->length_big, t->length_mask) + (uint64_t)f->length_add == n;
}

/* The checksum as it stands in the frame's last 8 bytes. */
static inline uint64_t said_sum(const table_t *t, const uint8_t *p, size_t n) {
    const framing_t *f = &t->framing;
    uint64_t v = load64(p + n - 8);
    v = f->sum_big ? __builtin_bswap64(v) >> 8 * (f->sum_at - f->sum_width) : v >> 8 * (8 - f->sum_at);
    return v & t->sum_mask;
}

static int date_holds(const uint8_t *p) { /* years from 2000 to 2099 */
    static const uint8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = p[0] % 4 == 0 && p[1] == 2;
    return p[0] <= 99 && p[1] >= 1 && p[1] <= 12 && p[2] >= 1 && p[2] <= days[p[1]] + leap;
}

static inline int text_holds(const uint8_t *p, int64_t width) { /* printable ASCII, filled up with zeros */
    const uint64_t ones = 0x0101010101010101ull, tops = ones << 7;
    int64_t i = 0;
    for (; i + 8 <= width; i += 8) {
        uint64_t v = load64(p + i);
        if (((v & tops) | ((v + ones) & tops) | ~((v | tops) - 0x20 * ones)) & tops)
            break;
    }
    while (i < width && p[i] >= 0x20 && p[i] < 0x7F)
        i++;
    while (i < width && !p[i])
        i++;
    return i == width;
}

static inline int guarded(const table_t *t, const uint8_t *row) {
    for (uint32_t i = 0; i < t->guards; i++) {
        const guard_t *g = &t->guard[i];
        if (g->kind == GUARD_RANGE) {
            uint64_t v = load64(row + g->at) & ~0ull >> (64 - 8 * g->width);
            if (v < (uint64_t)g->low || v > (uint64_t)g->high)
                return 0;
        } else if (g->kind == GUARD_TEXT ? !text_holds(row + g->at, g->width) : !date_holds(row + g->at))
            return 0;
    }
    return 1;
}

static inline void move_portably(const move_t *m, uint32_t n, const uint8_t *from, uint8_t *to, const uint8_t *constant) {
    for (uint32_t i = 0; i < n; i++) {
        uint8_t v[16] = {0};
        if (m[i].first != ZERO)
            memcpy(v, m[i].first == CONSTANT ? constant + m[i].to : to + m[i].to, 16);
        for (int k = 0; k < 16; k++)
            if (!(m[i].order[k] & 0x80))
                v[k] |= from[m[i].from + m[i].order[k]];
        memcpy(to + m[i].to, v, 16);
    }
}

static uint32_t sum_portably(const table_t *t, const uint8_t *p, size_t n) {
    return t->framing.sum_kind == SUM_XOR ? xor_of(p, n) : crc_tables(&t->crc, p, n);
}

static inline void fill_portably(const table_t *t, const plan_t *plan, const uint8_t *from, uint8_t *row) {
    for (uint32_t i = 0; i < t->row_size / 16; i++)
        for (int k = 0; k < 16; k++)
            row[16 * i + k] = plan->order[i][k] & 0x80 ? 0 : from[plan->from[i] + plan->order[i][k]];
    move_portably(plan->extra, plan->extras, from, row, NULL);
}

#if SIMD
TARGET_CLMUL static inline __attribute__((always_inline)) void move_fast(const move_t *m, uint32_t n, const uint8_t *from,
                                                                        uint8_t *to, const uint8_t *constant) {
    __m128i v = _mm_setzero_si128();
    for (uint32_t i = 0; i < n; i++) {
        __m128i part = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from + m[i].from)),
                                        _mm_loadu_si128((const __m128i *)m[i].order));
        if (m[i].first == ZERO)
            v = part;
        else
            v = _mm_or_si128(m[i].first ? _mm_loadu_si128((const __m128i *)(constant + m[i].to)) : v, part);
        _mm_storeu_si128((__m128i *)(to + m[i].to), v);
    }
}

TARGET_CLMUL static inline __attribute__((always_inline)) __m128i taken_from(const uint8_t *from, const uint8_t *order) {
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)from), _mm_loadu_si128((const __m128i *)order));
}

TARGET_CLMUL static inline __attribute__((always_inline)) void fill_extras(const plan_t *plan, const uint8_t *from, uint8_t *row) {
    for (uint32_t i = 0; i < plan->extras; i++) {
        __m128i *to = (__m128i *)(row + plan->extra[i].to);
        _mm_storeu_si128(to, _mm_or_si128(_mm_loadu_si128(to), taken_from(from + plan->extra[i].from, plan->extra[i].order)));
    }
}

TARGET_CLMUL static inline __attribute__((always_inline)) void fill_fast(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                        uint8_t *row) {
    for (uint32_t i = 0; i < t->row_size / 16; i++)
        _mm_storeu_si128((__m128i *)(row + 16 * i), taken_from(from + plan->from[i], plan->order[i]));
    fill_extras(plan, from, row);
}

TARGET_WIDE static inline __attribute__((always_inline)) void fill_wide(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                       uint8_t *row) {
    uint32_t blocks = t->row_size / 16, i = 0;
    for (; i + 2 <= blocks; i += 2) {
        __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(from + plan->from[i])));
        v = _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(from + plan->from[i + 1])), 1);
        v = _mm256_shuffle_epi8(v, _mm256_loadu_si256((const __m256i *)plan->order[i]));
        _mm256_storeu_si256((__m256i *)(row + 16 * i), v);
    }
    if (i < blocks)
        _mm_storeu_si128((__m128i *)(row + 16 * i), taken_from(from + plan->from[i], plan->order[i]));
    fill_extras(plan, from, row);
}

TARGET_CLMUL static inline __attribute__((always_inline)) uint32_t sum_fast(const table_t *t, const uint8_t *p, size_t n) {
    if (t->framing.sum_kind == SUM_XOR)
        return xor_of(p, n);
    if (n < 16)
        return crc_tables(&t->crc, p, n);
    return t->crc.reflected ? crc_folded(&t->crc, p, n, 1) : crc_folded(&t->crc, p, n, 0);
}
#endif

/* The part that a row says. */
static void lay_portably(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    move_portably(plan->lay, plan->lays, row, to, plan->part);
}

#if SIMD
TARGET_CLMUL static void lay_fast(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    move_fast(plan->lay, plan->lays, row, to, plan->part);
}

TARGET_CLMUL static uint32_t sum_of_fast(const table_t *t, const uint8_t *p, size_t n) {
    return sum_fast(t, p, n);
}
#endif

#define VARIANT portably
#define TARGET
#include "walk.h"
#undef VARIANT
#undef TARGET
#if SIMD
#define VARIANT fast
#define TARGET TARGET_CLMUL
#include "walk.h"
#undef VARIANT
#undef TARGET
#define VARIANT wide
#define TARGET TARGET_WIDE
#define sum_wide sum_fast
#include "walk.h"
#undef VARIANT
#undef TARGET
#endif

#endif
