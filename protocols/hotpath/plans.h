/* Layouts that were learnt: how a part (a frame, or one of the records in it) of exactly these structural bytes becomes a row.
 *
 * A plan checks every byte that is not data, so it cannot be applied to what it was not made for. All windows that it reads
 * (8 bytes to check, 16 to move) lie inside the part: nothing is read behind its end. */
#ifndef TELELOOP_PLANS_H
#define TELELOOP_PLANS_H

#include <stdlib.h>

#include "fold.h"
#include "seal.h"

enum { VOUCHED, UNFRAMED, CHECKSUM, UNKNOWN, DOUBTFUL, DISTRUSTED };       /* what is known of a frame */
enum { SUM_NONE, SUM_CRC, SUM_XOR };
enum { GUARD_RANGE, GUARD_TEXT, GUARD_DATE };
#define WINDOWS 8
#define GUARDS 24
#define BUCKETS 8192
#define QUICK 1024
#define PART_LIMIT 2048

enum { ONTO, CONSTANT, ZERO };
typedef struct {                                               /* 16 bytes in another order: onto what is there, or begins `to` */
    uint16_t from, to, first;
    uint8_t order[16];
} move_t;

#define CHECK 32
typedef struct {                                               /* bytes that must be as they are, where `mask` says */
    uint8_t mask[CHECK], value[CHECK];
} check_t;

typedef struct { uint16_t from, to; uint8_t order[16]; } extra_t;  /* what else belongs into a row: bytes onto its 16 from `to` on */
typedef struct { uint16_t a, b, to, unused; uint8_t order[32]; } duo_t; /* the same onto two blocks, one from each place */

typedef struct { uint16_t a, b, to; uint8_t more, present; uint8_t order[32]; } step_t; /* the same; `more`: the next is onto it */

typedef struct plan {                                          /* what every frame needs is in one cache line and what follows it: */
    struct plan *next, *then;                                  /* in its bucket; what followed it last, in a frame */
    uint64_t hash, used, context;
    struct rest *rest;
    uint16_t size, id;
    uint16_t checks, extras, duos;                             /* as many as any plan needs, if these are few: then no branch */
    uint16_t check_room, extra_room, duo_room;                 /* depends on which plan it is. What is left over does nothing */
    uint8_t order[];                                           /* for each block of the row, which 16 bytes; then the table says */
} plan_t;

typedef struct rest {                                          /* what building and learning need */
    plan_t *sibling;                                           /* of its family */
    struct family *family;
    move_t *lay;                                               /* the row to the part */
    uint8_t *part, *mask, *head;                               /* the part without data; its structure; what stands before parts */
    step_t *step;                                              /* how rows are filled two blocks at a time, where frames are alike */
    uint32_t head_size, lays, checks, steps;
} rest_t;

_Static_assert(sizeof(plan_t) == 64, "a plan begins its data at a cache line");

#define PROBES 4
typedef struct family {                                        /* layouts that the windows do not tell from each other */
    uint64_t key;
    struct family *next;
    plan_t *first;
    uint32_t least, probes;
    struct { uint64_t mask; uint32_t at; } probe[PROBES];      /* where they differ in structure that all of them have */
    uint8_t *common, *differing;                               /* of the first `least` bytes */
} family_t;

typedef struct { int64_t at; uint64_t mask; int64_t context; } window_t; /* context: -1 any */
typedef struct { int64_t kind, at, width, low, high; } guard_t;

#define BANDS 4
typedef struct { uint32_t at; uint8_t low[32], high[32]; } band_t; /* bytes of a row and between what they mostly lie */
typedef struct { uint64_t mask, low, span; uint32_t at; } span_t;

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
    band_t band[BANDS];
    span_t span[GUARDS];
    uint32_t bands, spans;
    int summed_by_four;                                        /* any frame's CRC is over 16 bytes at least */
    int bounded;                                               /* what is within the bands and spans is right */
    uint64_t length_mask, sum_mask;
    fold_t fold;
    struct { uint32_t from, present, check; } at;              /* where a plan's data begin, from its order on */
    uint16_t checks, extras, duos;                             /* how many most plans have */
    int plain;                                                 /* whole frames, whose windows are in all of them */
    int mixed;                                                 /* whether frames that follow each other are of many layouts */
    plan_t **plan;                                             /* by id */
    family_t *families[BUCKETS];
    struct { uint64_t key; plan_t *plan; } quick[QUICK];       /* of families that are one plan: no further look is needed */
    plan_t *bucket[BUCKETS];
    plan_t *last;                                              /* what the walk before ended with */
    int busy;                                                  /* walks under way without the GIL */
} table_t;

#define MANY 8

static inline uint32_t more(size_t a, size_t b) {
    return (uint32_t)(a > b ? a : b);
}

static inline const uint16_t *froms(const table_t *t, const plan_t *plan) {
    return (const uint16_t *)(plan->order + t->at.from);
}

static inline const check_t *checks(const table_t *t, const plan_t *plan) {
    return (const check_t *)(plan->order + t->at.check);
}

static inline const uint16_t *check_places(const plan_t *plan, const check_t *check) {
    return (const uint16_t *)(check + plan->check_room);
}

static inline const duo_t *duos(const plan_t *plan, const check_t *check) {
    return (const duo_t *)(check_places(plan, check) + plan->check_room);
}

static inline const extra_t *extras(const plan_t *plan, const check_t *check) {
    return (const extra_t *)(duos(plan, check) + plan->duo_room);
}

/* Where the kth two blocks of a row begin; of an odd number of blocks the last ones reach back over one before. */
static inline uint32_t pair_at(const table_t *t, uint32_t k) {
    return 32 * k + 32 > t->row_size ? t->row_size - 32 : 32 * k;
}

static inline uint32_t pair_of_block(const table_t *t, uint32_t at) {
    return at + 32 >= t->row_size ? (t->row_size - 1) / 32 : at / 32;
}

#define FEW 4
#define NEAR 8                                                 /* frames ahead that are fetched within a layout */
#define TILE 32
typedef struct {                                               /* frames that are worked on side by side, and what comes of them */
    const uint8_t *frame[TILE];
    size_t size[TILE];
    uint8_t *row[TILE];
    uint32_t place[TILE], n;                                   /* which frame of the walk each is */
} tile_t;

static inline void fetch(const void *from, size_t size) {
#if defined(__GNUC__)
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const char *)from + at);
    __asm__ volatile("");                                      /* or gcc finds that nothing is done here, and leaves the calls out */
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
    if (t->plain) {
        uint64_t key = left * 0x9E3779B97F4A7C15ull;
        for (uint32_t i = 0; i < t->windows; i++)
            key += spread(load64(p + t->window[i].at) & t->window[i].mask, 1 + i);
        return mixed(key);
    }
    uint64_t key = spread(t->framing.parts ? 0 : left, 0) + spread(context, 1);
    for (uint32_t i = 0; i < t->windows; i++) {
        const window_t *w = &t->window[i];
        if ((w->context < 0 || (uint64_t)w->context == context) && (size_t)w->at + 8 <= left)
            key += spread(load64(p + w->at) & w->mask, 2 + i);
    }
    return mixed(key);
}

static inline uint64_t hash_of(const family_t *f, const uint8_t *p) { /* unused probes look at nothing */
    uint64_t hash = f->key;
    for (uint32_t i = 0; i < PROBES; i++)
        hash += spread(load64(p + f->probe[i].at) & f->probe[i].mask, i);
    return mixed(hash);
}

static inline uint64_t context_of(const table_t *t, const uint8_t *p) {
    return t->plain ? 0 : load64(p + t->framing.context_at) & (uint64_t)t->framing.context_mask;
}

static inline const family_t *family_of(const table_t *t, uint64_t key) {
    const family_t *family = t->families[key % BUCKETS];
    while (family && family->key != key)
        family = family->next;
    return family;
}

/* The plan that a part most likely is of; the first of its hash. */
static inline plan_t *likely(const table_t *t, const uint8_t *p, size_t left, uint64_t context) {
    uint64_t key = key_of(t, p, left, context);
    if (t->quick[key % QUICK].key == key && t->quick[key % QUICK].plan)
        return t->quick[key % QUICK].plan;
    const family_t *family = family_of(t, key);
    if (!family || family->least > left)
        return NULL;
    uint64_t hash = hash_of(family, p);
    plan_t *plan = t->bucket[hash % BUCKETS];
    while (plan && plan->hash != hash)
        plan = plan->next;
    return plan;
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

#include "guards.h"

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
    const uint16_t *at = froms(t, plan);
    const extra_t *m = extras(plan, checks(t, plan));
    for (uint32_t i = 0; i < t->row_size; i++)
        row[i] = plan->order[i] & 0x80 ? 0 : from[at[i / 16] + plan->order[i]];
    for (uint32_t i = 0; i < plan->extras; i++)
        for (int k = 0; k < 16; k++)
            if (!(m[i].order[k] & 0x80))
                row[m[i].to + k] |= from[m[i].from + m[i].order[k]];
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

TARGET_CLMUL static inline __attribute__((always_inline)) void fill_extras(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                           uint8_t *row) {
    const extra_t *m = extras(plan, checks(t, plan));
    for (const extra_t *end = m + plan->extras; m < end; m++) {
        __m128i *to = (__m128i *)(row + m->to);
        _mm_storeu_si128(to, _mm_or_si128(_mm_loadu_si128(to), taken_from(from + m->from, m->order)));
    }
}

TARGET_CLMUL static inline __attribute__((always_inline)) void fill_fast(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                        uint8_t *row) {
    const uint16_t *at = froms(t, plan);
    for (uint32_t i = 0; i < t->row_size / 16; i++)
        _mm_storeu_si128((__m128i *)(row + 16 * i), taken_from(from + at[i], plan->order + 16 * i));
    fill_extras(t, plan, from, row);
}

TARGET_WIDE static inline __attribute__((always_inline)) __m256i both_from(const uint8_t *p, uint32_t a, uint32_t b, __m256i order) {
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + a)));
    return _mm256_shuffle_epi8(_mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(p + b)), 1), order);
}

TARGET_WIDE static inline __attribute__((always_inline)) __m256i wide_at(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

TARGET_WIDE static inline __attribute__((always_inline)) void fill_wide(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                       uint8_t *row) {
    const uint32_t blocks = t->row_size / 16;
    const uint16_t *at = froms(t, plan);
    uint32_t i = 0;
#pragma GCC unroll 2
    for (; i + 2 <= blocks; i += 2)
        _mm256_storeu_si256((__m256i *)(row + 16 * i), both_from(from, at[i], at[i + 1], wide_at(plan->order + 16 * i)));
    if (i < blocks)
        _mm_storeu_si128((__m128i *)(row + 16 * i), taken_from(from + at[i], plan->order + 16 * i));
    if (blocks == 1) {
        fill_extras(t, plan, from, row);
        return;
    }
    const duo_t *duo = duos(plan, checks(t, plan));
    for (const duo_t *end = duo + plan->duos; duo < end; duo++) {
        __m256i *to = (__m256i *)(row + duo->to);
        _mm256_storeu_si256(to, _mm256_or_si256(_mm256_loadu_si256(to), both_from(from, duo->a, duo->b, wide_at(duo->order))));
    }
}

/* Whether a part says what the plan's checks say; it is at least CHECK bytes long. */
TARGET_CLMUL static inline __attribute__((always_inline)) int agrees_fast(const table_t *t, const plan_t *plan, const uint8_t *p) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    __m128i wrong = _mm_setzero_si128();
    for (uint32_t i = 0; i < plan->checks; i++) {
        const __m128i *at = (const __m128i *)(p + place[i]), *mask = (const __m128i *)check[i].mask;
        __m128i a = _mm_xor_si128(_mm_loadu_si128(at), _mm_loadu_si128(mask + 2));
        __m128i b = _mm_xor_si128(_mm_loadu_si128(at + 1), _mm_loadu_si128(mask + 3));
        wrong = _mm_or_si128(wrong, _mm_and_si128(a, _mm_loadu_si128(mask)));
        wrong = _mm_or_si128(wrong, _mm_and_si128(b, _mm_loadu_si128(mask + 1)));
    }
    return _mm_testz_si128(wrong, wrong);
}

TARGET_WIDE static inline __attribute__((always_inline)) int agrees_wide(const table_t *t, const plan_t *plan, const uint8_t *p) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    __m256i wrong = _mm256_setzero_si256();
    for (const check_t *end = check + plan->checks; check < end; check++, place++) {
        const __m256i *mask = (const __m256i *)check->mask;
        __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(p + *place)), _mm256_loadu_si256(mask + 1));
        wrong = _mm256_or_si256(wrong, _mm256_and_si256(v, _mm256_loadu_si256(mask)));
    }
    return _mm256_testz_si256(wrong, wrong);
}

/* One checksum after the other; `kind` is the table's, known where this is compiled. */
TARGET_CLMUL static inline __attribute__((always_inline)) uint32_t sum_fast(const table_t *t, const uint8_t *p, size_t n) {
    if (t->framing.sum_kind == SUM_XOR)
        return xor_of(p, n);
    if (n < 16)
        return crc_tables(&t->crc, p, n);
    return t->crc.reflected ? crc_folded(&t->crc, p, n, 1) : crc_folded(&t->crc, p, n, 0);
}

TARGET_WIDE static inline __attribute__((always_inline)) uint32_t sum_wide(const table_t *t, const uint8_t *p, size_t n) {
    return t->framing.sum_kind == SUM_XOR ? xor_wide(p, n) : sum_fast(t, p, n);
}

TARGET_VAST static inline __attribute__((always_inline)) uint32_t sum_vast(const table_t *t, const uint8_t *p, size_t n) {
    if (t->framing.sum_kind == SUM_XOR)
        return xor_wide(p, n);
    if (n < 16)
        return crc_tables(&t->crc, p, n);
    return t->crc.reflected ? crc_long(&t->crc, &t->fold, p, n, 1) : crc_long(&t->crc, &t->fold, p, n, 0);
}
#endif

static inline int agrees_portably(const table_t *t, const plan_t *plan, const uint8_t *p) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < plan->checks; i++)
        for (uint32_t k = 0; k < CHECK; k += 8)
            wrong |= (load64(p + place[i] + k) ^ load64(check[i].value + k)) & load64(check[i].mask + k);
    return !wrong;
}

static int narrow_agrees(const plan_t *plan, const uint8_t *p) { /* a part that is shorter than a check */
    uint8_t wrong = 0;
    for (uint32_t i = 0; i < plan->size; i++)
        wrong |= (uint8_t)((p[i] ^ plan->rest->part[i]) & plan->rest->mask[i]);
    return !wrong;
}

/* The part that a row says. */
static void lay_portably(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    move_portably(plan->rest->lay, plan->rest->lays, row, to, plan->rest->part);
}

#if SIMD
TARGET_CLMUL static void lay_fast(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    move_fast(plan->rest->lay, plan->rest->lays, row, to, plan->rest->part);
}

TARGET_CLMUL static uint32_t sum_of_fast(const table_t *t, const uint8_t *p, size_t n) {
    return sum_fast(t, p, n);
}

TARGET_VAST static uint32_t sum_of_vast(const table_t *t, const uint8_t *p, size_t n) {
    return sum_vast(t, p, n);
}
#endif

#include "runs.h"

#define VARIANT portably
#define TARGET
#include "walk.h"
#if SIMD
#define VARIANT fast
#define TARGET TARGET_CLMUL
#include "walk.h"
#define VARIANT wide
#define ALIKE 1
#define TARGET TARGET_WIDE
#include "walk.h"
#define VARIANT vast
#define TARGET TARGET_VAST
#define PAIRED 1
#define ALIKE 1
#define fill_vast fill_wide
#define agrees_vast agrees_wide
#define holds_vast holds_wide
#include "walk.h"
#endif

#endif
