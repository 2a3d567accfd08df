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
    uint32_t head_size, lays, checks, steps, group;
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

#define GROUPS 4096
#define SLOT_BITS 14
typedef struct {                                               /* layouts of one size, in one cache line: */
    uint64_t mask[PROBES], seed;                               /* where they differ in structure that all of them have */
    uint16_t at[PROBES], first, unused[7];
} kind_t;

typedef struct {                                               /* what tells whole frames apart, for all plans together */
    kind_t kind[GROUPS + 1];                                   /* none is the 0th */
    uint32_t slot[1 << SLOT_BITS];                             /* 16 bits of a hash, and a group, plus 1; 0: nobody's */
    plan_t *plan[GROUPS];                                      /* by group */
    uint16_t size[GROUPS], kind_of[PART_LIMIT + 1];            /* of a group, of a size */
    uint16_t alike[GROUPS];                                    /* the next group of this one's size, plus 1 */
    uint64_t hash[GROUPS];                                     /* by what was chosen of a kind so far */
    uint32_t stamp[1 << SLOT_BITS], stamps;                    /* for counting which hashes there are */
    uint32_t groups, kinds, probes, longest, slot_shift;       /* as few slots as do: they stay in the first cache */
    struct all_ends *ends;                                     /* of some that can be taken by their ends */
    int ready;
} sorts_t;

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

static inline void put_number(uint8_t *p, uint64_t v, int64_t width, int64_t big) {
    for (int64_t i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> 8 * (big ? width - 1 - i : i));
}

static inline uint64_t number_at(const uint8_t *p, int64_t width, int64_t big) {
    uint64_t v = 0;
    for (int64_t i = 0; i < width; i++)
        v |= (uint64_t)p[i] << 8 * (big ? width - 1 - i : i);
    return v;
}

#include "glance.h"

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
    residues_t residues;
    int glances;                                               /* whether what is known of parts can be said so */
    struct { uint32_t from, present, check; } at;              /* where a plan's data begin, from its order on */
    uint16_t checks, extras, duos;                             /* how many most plans have */
    int plain;                                                 /* whole frames, whose windows are in all of them */
    int mixed;                                                 /* whether frames, or parts, that follow each other are of many layouts */
    sorts_t *sorts;
    size_t waited;                                             /* frames since it was made last */
    uint32_t patience;                                         /* frames until layouts are guessed again */
    uint32_t shy, shies;                                       /* tiles until one is taken by its frames' ends again; how many they were last */
    uint64_t by_ends;                                          /* frames that were taken by their ends so far */
    uint32_t wary;                                             /* tiles until one is taken to be all of one layout again */
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
#define NEAR 8                                                 /* parts ahead that are fetched within a layout */
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

#include "fill.h"
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
