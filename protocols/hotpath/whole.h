/* Frames, or parts, of any layouts in the order in which they come, where the processor has registers of 64 bytes: whose layout each
 * is, is found for a tile of them, then four at a time are looked at. What is not right is walked as everywhere. Included by frames.h. */

#if SIMD
#define SEEN 64                                                /* parts after which no further frame is begun; one has 255 at most */
typedef struct { const uint8_t *end[SEEN + 256]; const glance_t *glance[SEEN + 256]; uint8_t *row[SEEN + 256]; } glances_t;

/* Which layout each of a tile most likely is of; 0 with an error. Hashes first, then what they lead to: what one frame waits for, the
 * next ones do meanwhile. */
static inline __attribute__((always_inline)) int known_by(const table_t *t, const walk_t *w, const frames_t *f, size_t at, size_t n, glances_t *c,
                                                          uint32_t probes) {
    const sorts_t *a = t->sorts;
    const size_t longest = a->longest, row_size = t->row_size; /* as much of each: no branch depends on its size */
    uint64_t hash[TILE];
    uint32_t size_of[TILE];
    size_t size;
    uint8_t *row = w->rows + at * row_size;
    for (size_t i = 0; i < n; i++, row += row_size) {
        fetch_ahead(f, at + i, longest);
        if (!is_frame(f, at + i))
            return 0;
        const uint8_t *p = frame_at(f, at + i, &size);
        const kind_t *kind = &a->kind[size <= PART_LIMIT ? a->kind_of[size] : 0];
        hash[i] = kind->first ? kind_hash(kind, p, probes) : 0; /* the 0th is none: nothing is read */
        c->end[i] = p + size, c->row[i] = row, size_of[i] = kind->first ? (uint32_t)size : 0;
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t slot = *slot_of(a, hash[i]);
        uint32_t group = (slot & 0xFFFF) - 1;
        if ((slot ^ tag_of(hash[i])) >> 16 || !slot)
            group = slot && size_of[i] ? other_group(t, c->end[i] - size_of[i], size_of[i]) : NOBODY;
        const glance_t *g = group == NOBODY ? &NO_GLANCE : glance_of(a->plan[group]);
        c->glance[i] = g->size == size_of[i] ? g : &NO_GLANCE;
    }
    return 1;
}

static __attribute__((noinline)) int known(const table_t *t, const walk_t *w, const frames_t *f, size_t at, size_t n, glances_t *c) {
    switch (t->sorts->probes) {
    case 0: return known_by(t, w, f, at, n, c, 0);
    case 1: return known_by(t, w, f, at, n, c, 1);
    case 2: return known_by(t, w, f, at, n, c, 2);
    case 3: return known_by(t, w, f, at, n, c, 3);
    default: return known_by(t, w, f, at, n, c, PROBES);
    }
}

/* Bits for those that are not right, of eight at most. */
TARGET_BROAD INLINE uint32_t eight_glanced(const table_t *t, const glances_t *c, size_t from, size_t end, int deep) {
    const int kind = t->framing.parts ? SUM_NONE : (int)t->framing.sum_kind, shift = kind == SUM_CRC ? 32 - t->crc.width : 0;
    uint32_t bad = 0;
    for (size_t k = from; k < end; k += 4)
        bad |= four_glanced(&t->residues, &t->fold, kind, shift, t->row_size, c->glance + k, c->end + k, c->row + k, deep) << (k - from);
    return bad;
}

/* A bit for each that is not right; of more than a tile only whether any is not. How many registers are needed is asked once for eight:
 * the processor guesses that right both where few are long and where most are. */
TARGET_BROAD static __attribute__((noinline)) uint32_t all_glanced(const table_t *t, glances_t *c, size_t n) {
    uint32_t bad = 0;
    for (size_t k = n; k % 8; k++)                             /* the last one once more until there are eight */
        c->end[k] = c->end[n - 1], c->glance[k] = c->glance[n - 1], c->row[k] = c->row[n - 1];
    for (size_t k = 0; k < n; k += 8) {
        const size_t end = k + 8 < n ? k + 8 : n;
        uint32_t longest = 0;
        for (int i = 0; i < 8; i++)
            longest = more(longest, c->glance[k + i]->size);
        const uint32_t of_eight = longest < 128 ? eight_glanced(t, c, k, end, 2) : longest < 192 ? eight_glanced(t, c, k, end, 3) : eight_glanced(t, c, k, end, 4);
        bad |= of_eight << k % TILE;
    }
    return n < TILE ? bad & ((1u << n) - 1) : bad;
}

TARGET_WIDE static __attribute__((noinline)) int rows_bounded(const table_t *t, uint8_t *const row[], uint32_t n) {
    return all_bounded(t, row, n);
}

#endif

#include "alike.h"

#include "mingled.h"

#if SIMD
/* The next frames, in order. How many; 0 with an error. */
static size_t in_sight(table_t *t, walk_t *w, const frames_t *f, size_t begin) {
    size_t at = begin;
    for (size_t n; at < f->n; at += n) {
        glances_t c;
        if (t->framing.sum_kind == SUM_CRC && !t->wary && f->n - at >= TILE) {
            if (!known(t, w, f, at, 1, &c))
                return 0;
            glance_t *g = (glance_t *)(uintptr_t)c.glance[0];
            n = is_of_ends(g) ? alike(t, w, f, at, g) : 0;
            if (n)
                g->used = t->now, t->shies = 0;
            if (f->n - at - n >= TILE)
                t->wary = WARY;
            if (n)
                continue;
        }
        if (t->sorts->ends && t->sorts->ends->ready && !t->shy && (n = mingled(t, w, f, at)))
            continue;
        t->shy -= t->shy > 0;
        n = f->n - at < TILE ? f->n - at : TILE;
        if (!known(t, w, f, at, n, &c))
            return 0;
        t->wary -= t->wary && c.glance[0] == c.glance[n / 2] && c.glance[0] == c.glance[n - 1]; /* most likely of one layout */
        const uint32_t bad = all_glanced(t, &c, n);
        if (t->guards && !rows_bounded(t, c.row, (uint32_t)n))
            for (size_t i = 0; i < n; i++)
                if (!(bad >> i & 1) && !guarded(t, c.row[i]))
                    c.glance[i] = NULL;
        for (size_t i = 0; i < n; i++)
            if (!(bad >> i & 1) && c.glance[i]) {
                glance_t *g = (glance_t *)(uintptr_t)c.glance[i];
                g->used = t->now, w->ids[at + i] = g->id, w->status[at + i] = VOUCHED;
            } else if (!(bad >> i & 1))
                doubt(t, w, at + i);
        if (!bad)
            continue;
        plan_t *last = NULL;
        tile_t tile;
        tile.n = 0;
        for (size_t i = 0, size; i < n; i++)
            if (bad >> i & 1) {
                const uint8_t *p = frame_at(f, at + i, &size);
                put(t, w, &tile, at + i, p, size);
            }
        if (tile.n > n / 2)
            t->patience = PATIENCE;
        walk_tile(t, w, &tile, &last);
        if (t->patience)
            return at + n - begin;
    }
    return at - begin;
}

/* A frame's parts, as what followed what before says: how many; 0 if that says nothing, or if it is to be walked by itself. */
static size_t parts_seen(const table_t *t, const walk_t *w, glances_t *c, size_t n, const uint8_t *p, size_t size, plan_t **first) {
    const framing_t *f = &t->framing;
    if (!framed(t, p, size) || (f->sum_kind != SUM_NONE && sum_of_vast(t, p + f->sum_from, size - (size_t)f->sum_from - (size_t)f->sum_trail) != said_sum(t, p, size)))
        return 0;
    const uint64_t context = context_of(t, p);
    const size_t count = p[f->count_at], end = size - (size_t)f->parts_trail;
    size_t at = (size_t)f->parts_from;
    if (!count || p[size - f->again_at] != count || n + count > w->room - w->written)
        return 0;
    uint8_t *row = w->rows + (w->written + n) * t->row_size;
    plan_t *plan = *first = likely(t, p + at, end - at, context);
    for (size_t k = n; k < n + count; k++, plan = plan->then, row += t->row_size) {
        if (!plan || plan->size > end - at || plan->context != context || !glance_of(plan)->size)
            return 0;
        at += plan->size;
        c->end[k] = p + at, c->glance[k] = glance_of(plan), c->row[k] = row;
    }
    return at == end ? count : 0;
}

/* The next frames of several parts, if all of them are right: how many. 0: the next one is to be walked by itself. */
static size_t parts_in_sight(table_t *t, walk_t *w, const frames_t *f, size_t begin) {
    glances_t c;
    plan_t *first = NULL;
    size_t i = begin, n = 0, size = 0, count;
    for (; i < f->n && n < SEEN; i++, n += count) {
        if (f->list && !PyBytes_CheckExact(f->list[i]))
            break;
        const uint8_t *p = frame_at(f, i, &size);
        fetch_long(f, i, size);
        if (!(count = parts_seen(t, w, &c, n, p, size, &first)))
            break;
        if (w->starts)
            w->starts[i] = (uint32_t)(w->written + n);
        w->last = first;
    }
    if (!n)
        return 0;
    int wrong = all_glanced(t, &c, n) != 0;
    if (t->guards && !wrong && !rows_bounded(t, c.row, (uint32_t)n))
        for (size_t k = 0; k < n; k++)
            wrong |= !guarded(t, c.row[k]);
    if (wrong) {
        t->patience = PATIENCE;
        return 0;
    }
    for (size_t k = 0; k < n; k++) {
        glance_t *g = (glance_t *)(uintptr_t)c.glance[k];
        g->used = t->now, w->ids[w->written + k] = g->id;
    }
    memset(w->status + begin, VOUCHED, i - begin);
    w->written += n;
    return i - begin;
}
#endif
