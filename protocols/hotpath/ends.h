/* Layouts whose structure is all in their first 64 bytes and the same bytes in all of them: what of them has to be loaded for each
 * frame is little, and stands side by side. Their frames are read as their first 64 bytes and their last; of short ones the
 * checksum is read as the last only, and what is not theirs is zero. Included by kernel.c. */

enum { ENDS = 512, TRIES = 16 };                               /* for more layouts than that no such hash would be found */
enum { LEAST_ENDS = 24 };                                      /* bytes: a shorter frame hardly has room for anything */
enum { GONE = 4 };                                             /* of the last 64 bytes; read as zeros: so is what is nowhere in the frame */

typedef struct {                                               /* for frames of one size: */
    uint64_t by_head[8];                                       /* powers of x for their first 64 bytes */
    uint8_t turn[64];                                          /* their last 64 in order, without those that are among the first */
} sized_t;

typedef struct {                                               /* of one layout; a size of 0: it cannot be taken so */
    const sized_t *sized;
    uint64_t used, fresh;                                      /* when; the lower half of it, followed by the size */
    uint8_t onto[16], few[16];                                 /* what is put onto the row's first 16 bytes; where its last 16 come from */
    uint32_t size;
    int32_t id;
    uint8_t value[64];                                         /* the structure, and what makes nothing of a right frame's remainder */
    uint8_t order[];                                           /* where each byte of a row's whole 64 comes from */
} ends_t;

_Static_assert(sizeof(ends_t) == 128, "an order begins with a cache line");

typedef struct { uint32_t at; int32_t id; } found_t;           /* a layout: where in all of this it is said, and which it is */

typedef struct { uint64_t mask, by; size_t at; } factor_t;     /* a word that tells layouts apart, and what it is multiplied by */

typedef struct all_ends {
    sized_t sized[128];                                        /* by size */
    uint8_t structure[64];                                     /* which of the first 64 bytes are */
    uint16_t most[32];                                         /* what each two of them are at most, if `bounded` */
    factor_t word[2];
    uint32_t words, shift, size, n, least;                     /* how many; of the hash; of one of `of`, in bytes; how many layouts; the least frame's; */
    int cut;                                                   /* whether any frames are shorter than their first 64 bytes with the sum behind them; */
    int ready, headed, brief, bounded;                         /* whether any can be taken so; whether rows' first 64 bytes are all from frames';
                                                                * whether what is behind their first 64 is among their last 32; whether
                                                                * frames say by two bytes each that rows are within bounds */
    found_t slot[1 << SLOT_BITS];                              /* by hash; nobody's leads to the 0th */
    uint8_t of[] __attribute__((aligned(64)));                 /* each layout's; the 0th is none */
} all_ends_t;

static inline ends_t *ends_of(const all_ends_t *a, size_t k) {
    return (ends_t *)(uintptr_t)(a->of + k * a->size);
}

static inline void ends_used_now(ends_t *e, uint64_t now) {
    e->used = now, e->fresh = now << 32 | e->size;
}

static inline __attribute__((always_inline)) uint64_t ends_hash(const factor_t word[2], const uint8_t *p, uint32_t words) {
    const uint64_t hash = (load64(p + word[0].at) & word[0].mask) * word[0].by;
    return words > 1 ? hash + (load64(p + word[1].at) & word[1].mask) * word[1].by : hash;
}

/* What has to be put where `bits` follow, so that this is left of it: divided by x so many times. */
static uint64_t taken_back(const crc_t *c, uint64_t left, size_t bits) {
    const uint64_t polynomial = 1ull << c->width | c->top >> (32 - c->width);
    for (size_t i = 0; i < bits; i++)
        left = (left ^ (left & 1 ? polynomial : 0)) >> 1;
    return left;
}

/* How many of a frame's bytes are read as its first ones: 64 at most, and none of its sum. */
static inline size_t first_of(const framing_t *f, size_t size) {
    const size_t unsummed = size - (size_t)f->sum_width;
    return unsummed < 64 ? unsummed : 64;
}

/* Powers of x for the first 64 bytes of a frame of this size, also where it ends before they do: what is behind its end is zero, and to be
 * taken back. The modulus is the polynomial times a power of x, by which x cannot divide: so that power is set aside meanwhile. */
static void powers_of_first(uint64_t by[8], int size, const crc_t *c) {
    const int aside = 32 - c->width;
    for (int i = 0; i < 8; i++) {
        const int power = 128 * (3 - i / 2) + 32 + 64 * (i & 1) + 8 * (size - 64);
        by[i] = power >= 0 ? x_to(power, c->top) : taken_back(c, 1, (size_t)(aside - power)) << aside;
    }
}

/* Where a row's bytes come from: the first of the frame, or its last 64, as those behind a row's first 64 all do. Whether that can be said. */
static int ordered(const glance_t *g, size_t first, uint32_t to, uint32_t n, uint8_t *order) {
    const int tail = g->size - 64;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t place = g->size - 128u + g->order[to + i]; /* the byte before the first one is none */
        order[i] = place >= g->size ? 64 : !to && place < first ? (uint8_t)place : (uint8_t)(64 | ((int)place - tail));
        if (place < g->size && order[i] >= 64 && (int)place < tail + GONE)
            return 0;
    }
    return 1;
}

/* Where to put what makes nothing of the remainder: bytes of data beside each other, each of which comes once among the first 64 of a row,
 * and there among the first 16. 64: nowhere. */
static size_t room_for(const ends_t *e, const uint8_t *mask, size_t width, size_t to[]) {
    for (size_t at = 0, n = 0; at < 64; at++) {
        size_t times = 0, where = 64;
        for (size_t k = 64; k--;)
            if (e->order[k] == at)
                times++, where = k;
        n = !mask[at] && times == 1 && where < 16 ? n + 1 : 0;
        if (n)
            memmove(to, to + 1, (width - 1) * sizeof *to), to[width - 1] = where;
        if (n == width)
            return at + 1 - width;
    }
    return 64;
}

/* What is said of a layout, if it can be said so. */
static void ends_declare(const table_t *t, all_ends_t *a, const plan_t *plan, ends_t *e) {
    const glance_t *g = glance_of(plan);
    const uint8_t *part = plan->rest->part, *mask = plan->rest->mask;
    const size_t width = (size_t)t->framing.sum_width;
    const size_t first = first_of(&t->framing, g->size);
    uint8_t all[128] = {0}, structure[64] = {0};
    if (g->size < LEAST_ENDS || g->size > 128 - GONE)
        return;
    for (size_t i = first; i < g->size; i++)
        if (mask[i])
            return;
    memcpy(structure, mask, first);
    if (a->ready && memcmp(a->structure, structure, 64))
        return;
    for (uint32_t k = 0; 64 * k < t->row_size; k++) {
        const int few = t->row_size == 64 * k + 16;
        if (!ordered(g, first, few ? 64 * k : glance_row_at(t->row_size, k), few ? 16 : 64, few ? e->few : e->order + 64 * k))
            return;
    }
    size_t to[4] = {0};
    const size_t at = room_for(e, structure, width, to);
    if (at == 64)
        return;
    crc_t zeros = t->crc;
    zeros.init = zeros.xorout = 0;
    memcpy(e->value, memcpy(all, part, first), 64);
    put_number(e->value + at, taken_back(&t->crc, g->residue ^ crc_tables(&zeros, all, g->size), 8 * (g->size - at)), (int64_t)width, 1);
    memcpy(e->onto, g->present, sizeof e->onto);
    for (size_t i = 0; i < width; i++)
        e->onto[to[i]] ^= e->value[at + i];
    memcpy(a->structure, structure, 64), a->ready = 1;
    for (uint32_t i = 0; i < 64; i++)                          /* then what is nowhere is the frame's 0th byte, and must be structure */
        a->headed &= mask[0] && e->order[i] <= 64;
    a->brief &= g->size <= 64 + 32, a->cut |= g->size < 64 + sizeof(uint32_t), a->least = g->size < a->least ? g->size : a->least;
    sized_t *s = &a->sized[g->size];
    e->id = g->id, e->fresh = e->size = g->size, e->sized = s;
    powers_of_first(s->by_head, g->size, &t->crc);
    for (uint32_t i = 0; i < 64; i++)
        s->turn[i] = (i & 48) + t->residues.turn[i] + g->size < 64 + first ? 128 : t->residues.turn[i];
}

/* A hash of these words that leads each layout to a slot of its own: whether there is one. */
static int ends_hashed(all_ends_t *a) {
    for (uint32_t bits = 4; bits <= SLOT_BITS; bits++)
        for (uint64_t try = 1; try <= TRIES && a->n <= 1u << bits; try++) {
            uint32_t k = 1;
            a->word[0].by = try * 0x9E3779B97F4A7C15ull | 1, a->word[1].by = try * 0xD6E8FEB86659FD93ull | 1, a->shift = 64 - bits;
            memset(a->slot, 0, sizeof *a->slot << bits);
            for (; k <= a->n; k++) {
                const ends_t *e = ends_of(a, k);
                found_t *slot = &a->slot[ends_hash(a->word, e->value, a->words) >> a->shift];
                if (e->size && slot->at)
                    break;
                if (e->size)
                    *slot = (found_t){(uint32_t)((const uint8_t *)e - (const uint8_t *)a), e->id};
            }
            for (uint32_t i = 0; k > a->n && i < 1u << bits; i++)
                a->slot[i].at = a->slot[i].at ? a->slot[i].at : (uint32_t)offsetof(all_ends_t, of);
            if (k > a->n)
                return 1;
        }
    return 0;
}

/* Whether one word of the first 64 bytes, or two, tell all of these layouts apart. */
static int ends_told_apart(all_ends_t *a) {
    uint8_t differing[64] = {0};
    const ends_t *first = NULL;
    uint32_t n = 0;
    for (uint32_t k = 1; k <= a->n; k++) {
        const ends_t *e = ends_of(a, k);
        first = first || !e->size ? first : e;
        for (uint32_t i = 0; i < 64 && e->size; i++)
            differing[i] |= a->structure[i] & (e->value[i] ^ first->value[i]) ? 255 : 0;
    }
    memset(a->word, 0, sizeof a->word), a->words = 1;
    for (uint32_t at = 0; at < 64 && at + 8 <= a->least; at += 8) {
        const uint64_t mask = load64(a->structure + at) & load64(differing + at);
        if (!mask)
            continue;
        if (!n++)
            a->word[1].at = at, a->word[1].mask = mask;
        a->word[0].at = at, a->word[0].mask = mask;
        if (ends_hashed(a))
            return 1;
    }
    a->words = n ? 2 : 1;
    return (n == 0 || n == 2) && ends_hashed(a);
}

/* Whether each bound is one on two bytes that stand at the same even place of all frames' first 64, unchanged by what is put onto them. */
static int ends_bounded(const table_t *t, all_ends_t *a) {
    memset(a->most, 255, sizeof a->most);
    for (uint32_t i = 0; i < t->spans; i++) {
        const span_t s = t->span[i];
        uint32_t place = 64;
        if (s.at > 62 || s.mask != 0xFFFF || s.low)
            return 0;
        for (uint32_t k = 1; k <= a->n; k++) {
            const ends_t *e = ends_of(a, k);
            const uint8_t *order = e->order + s.at;
            if (!e->size)
                continue;
            if (order[0] > 62 || order[0] % 2 || order[1] != order[0] + 1 || (place < 64 && order[0] != place) || e->value[order[0]] || e->value[order[1]])
                return 0;
            place = order[0];
        }
        if (place < 64 && s.span < a->most[place / 2])
            a->most[place / 2] = (uint16_t)s.span;
    }
    return t->bounded && !t->bands;
}

/* Of all layouts as they are sorted. */
static void all_ends(const table_t *t, sorts_t *s) {
    const size_t size = sizeof(ends_t) + t->row_size / 64 * 64 + (t->row_size % 64 > 16 ? 64 : 0);
    if (s->ends)
        s->ends->ready = 0;
    if (!broad || !t->glances || t->framing.sum_kind != SUM_CRC || s->groups > ENDS)
        return;
    all_ends_t *a = s->ends = s->ends ? s->ends : aligned_alloc(64, (sizeof *a + 63) / 64 * 64 + (ENDS + 1) * size);
    if (!a)
        return;
    a->size = (uint32_t)size, a->n = s->groups, a->ready = a->cut = 0, a->headed = a->brief = 1, a->least = 64;
    memset(a->of, 0, (a->n + 1) * size);
    ends_of(a, 0)->sized = a->sized;                           /* its size is none's, but that is asked only after all of the frame was looked at */
    for (uint32_t k = 0; k < a->n; k++)
        ends_declare(t, a, s->plan[k], ends_of(a, k + 1));
    a->ready = a->ready && ends_told_apart(a), a->bounded = ends_bounded(t, a);
}

/* When these layouts were used last, said where it is said of all. */
static void ends_used(const sorts_t *s) {
    for (uint32_t k = 0; s->ends && s->ends->ready && k < s->ends->n; k++) {
        glance_t *g = glance_of(s->plan[k]);
        const uint64_t used = ends_of(s->ends, k + 1)->used;
        g->used = used > g->used ? used : g->used;
    }
}
