/* Frames to rows: compiled once for every processor that VARIANT and TARGET name. */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAMED(name) JOIN(name, VARIANT)
#define WALKING TARGET static inline __attribute__((always_inline))

WALKING int NAMED(fits)(const table_t *t, const plan_t *plan, const uint8_t *p, uint64_t context) {
    if (plan->context != context)
        return 0;
    return plan->size < CHECK ? narrow_agrees(plan, p) : NAMED(agrees)(t, plan, p);
}

/* The plan of a part that begins at `p`, behind which `left` bytes of the frame follow. */
TARGET static __attribute__((noinline)) plan_t *NAMED(found)(const table_t *t, const uint8_t *p, size_t left, uint64_t context) {
    const int64_t parts = t->framing.parts;
    uint64_t key = key_of(t, p, left, context);
    plan_t *only = t->quick[key % QUICK].plan;
    if (only && t->quick[key % QUICK].key == key && (parts ? only->size <= left : only->size == left) && NAMED(fits)(t, only, p, context))
        return only;
    const family_t *family = family_of(t, key);
    if (!family || family->least > left)
        return NULL;
    uint64_t hash = hash_of(family, p);
    for (plan_t *plan = t->bucket[hash % BUCKETS]; plan; plan = plan->next)
        if (plan->hash == hash && (parts ? plan->size <= left : plan->size == left) && NAMED(fits)(t, plan, p, context))
            return plan;
    return NULL;
}

WALKING void NAMED(row)(const table_t *t, const plan_t *plan, const uint8_t *p, uint8_t *row) {
    NAMED(fill)(t, plan, p, row);
    for (uint32_t k = 0; k < t->present_size; k += 8)
        memcpy(row + k, plan->order + t->at.present + k, 8);
}

WALKING int NAMED(summed)(const table_t *t, const uint8_t *p, size_t n) {
    const framing_t *f = &t->framing;
    if (f->sum_kind == SUM_NONE)
        return 1;
    return NAMED(sum)(t, p + f->sum_from, n - (size_t)f->sum_from - (size_t)f->sum_trail) == said_sum(t, p, n);
}

#ifdef PAIRED
/* The framed ones of a tile, those with as many blocks for the CRC beside each other. */
WALKING uint32_t NAMED(alike)(const tile_t *tile, uint32_t framed, size_t spared, uint8_t order[TILE], uint32_t *all_alike) {
    uint32_t n = 0, begins[17] = {0};
    const size_t like = tile->size[__builtin_ctz(framed)];
    for (uint32_t left = framed; left; left &= left - 1)
        order[n] = (uint8_t)__builtin_ctz(left), *all_alike &= tile->size[order[n]] == like, n++;
    if (*all_alike)
        return n;
    uint8_t length[TILE];
    for (uint32_t k = 0; k < n; k++) {
        const size_t blocks = (tile->size[order[k]] - spared - 1) / 16;
        length[k] = (uint8_t)(blocks < 15 ? blocks : 15), begins[length[k] + 1]++;
    }
    for (uint32_t k = 1; k < 17; k++)
        begins[k] += begins[k - 1];
    uint8_t sorted[TILE];
    for (uint32_t k = 0; k < n; k++)
        sorted[begins[length[k]]++] = order[k];
    memcpy(order, sorted, n);
    return n;
}
#endif

/* Which checksums of a tile hold: a bit for each frame that is framed. */
WALKING uint32_t NAMED(sums)(const table_t *t, const tile_t *tile, uint32_t framed) {
    uint32_t right = 0;
#ifdef PAIRED
    if (t->summed_by_four && framed & (framed - 1)) {
        const size_t from = (size_t)t->framing.sum_from, spared = from + (size_t)t->framing.sum_trail;
        uint8_t order[TILE];
        uint32_t same = 1;
        const uint32_t all = NAMED(alike)(tile, framed, spared, order, &same);
        for (uint32_t done = 0; done < all; done += 4) { /* the last one once more until there are four */
            const uint8_t *p[4];
            size_t n[4];
            uint32_t i[4], sum[4];
            for (uint32_t k = 0; k < 4; k++) {
                i[k] = order[done + k < all ? done + k : all - 1];
                p[k] = tile->frame[i[k]] + from, n[k] = tile->size[i[k]] - spared;
            }
            if (t->crc.reflected)
                same ? crc_alike(&t->crc, &t->fold, p, n[0], 1, sum) : crc_four(&t->crc, &t->fold, p, n, 1, sum);
            else
                same ? crc_alike(&t->crc, &t->fold, p, n[0], 0, sum) : crc_four(&t->crc, &t->fold, p, n, 0, sum);
            for (int k = 0; k < 4; k++)
                right |= (uint32_t)(sum[k] == said_sum(t, tile->frame[i[k]], tile->size[i[k]])) << i[k];
        }
        return right;
    }
#endif
    for (; framed; framed &= framed - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(framed);
        right |= (uint32_t)NAMED(summed)(t, tile->frame[i], tile->size[i]) << i;
    }
    return right;
}

#ifdef ALIKE
#include "fours.h"
#include "apart.h"
#endif

/* Frames that are one part each; how many are vouched for. Stage by stage: what one waits for, the next ones do meanwhile. */
TARGET static uint32_t NAMED(walk_tile)(table_t *t, const tile_t *tile, uint8_t *status, int32_t *ids, plan_t **last) {
    plan_t *plan[TILE], *guess = *last;
    uint32_t framing = 0, known = 0, likelies = 0, changes = 0;
    int alike = 1;
    for (uint32_t i = 0; i < tile->n; i++) {
        const uint8_t *p = tile->frame[i];
        const size_t n = tile->size[i];
        if (n < (size_t)t->framing.least)
            continue;
        const uint64_t context = context_of(t, p);
        if (alike && guess && guess->size == n && NAMED(fits)(t, guess, p, context)) {
            plan[i] = guess;
            framing |= 1u << i, known |= 1u << i;
            continue;
        }
        if (!framed(t, p, n))
            continue;
        framing |= 1u << i;
        plan[i] = likely(t, p, n, context);
        if (!plan[i])
            continue;
        fetch(plan[i], sizeof(plan_t) + t->at.check + sizeof(check_t)), fetch(extras(plan[i], checks(t, plan[i])), 1);
        alike = plan[i] == guess, guess = plan[i]; /* where frames are of many layouts, the last one's is not tried */
        changes += !alike, likelies |= 1u << i;
    }
    if (tile->n >= TILE / 2)
        t->mixed = changes * 8 > tile->n;
    for (; likelies; likelies &= likelies - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(likelies);
        const uint8_t *p = tile->frame[i];
        const uint64_t context = context_of(t, p);
        if (plan[i]->size == tile->size[i] && NAMED(fits)(t, plan[i], p, context))
            known |= 1u << i;
        else if ((plan[i] = NAMED(found)(t, p, tile->size[i], context)))
            known |= 1u << i;
    }
    *last = guess;
    const uint32_t right = NAMED(sums)(t, tile, framing);
    uint32_t vouched = known & right;
    for (uint32_t i = 0; i < tile->n; i++) {
        uint8_t *row = tile->row[i];
        const uint32_t at = tile->place[i];
        if (!(vouched >> i & 1)) {
            memset(row, 0, t->row_size);
            ids[at] = -1, status[at] = !(framing >> i & 1) ? UNFRAMED : !(right >> i & 1) ? CHECKSUM : UNKNOWN;
            continue;
        }
        NAMED(row)(t, plan[i], tile->frame[i], row);
        plan[i]->used = t->now;
        ids[at] = (int32_t)plan[i]->id, status[at] = VOUCHED;
    }
    for (uint32_t i = 0; i < tile->n && t->guards; i++) {
        uint8_t *row = tile->row[i];
        const uint32_t at = tile->place[i];
        if (!NAMED(holds)(t, row) && vouched >> i & 1)
            memset(row, 0, t->row_size), ids[at] = -1, status[at] = DOUBTFUL, vouched &= ~(1u << i);
    }
    return (uint32_t)__builtin_popcount(vouched);
}

/* The rows of a frame of several parts, and the plans that they were made by. `room` rows are there; a frame has at most 255.
 * `last` is what the frame before began with. */
TARGET static int NAMED(walk_parts)(table_t *t, const uint8_t *p, size_t n, uint8_t *rows, int32_t *ids, size_t room,
                                    plan_t **last) {
    const framing_t *f = &t->framing;
    if (!framed(t, p, n))
        return UNFRAMED;
    if (!NAMED(summed)(t, p, n))
        return CHECKSUM;
    const uint64_t context = context_of(t, p);
    const size_t count = p[f->count_at], end = n - (size_t)f->parts_trail;
    size_t at = (size_t)f->parts_from;
    if (!count || p[n - f->again_at] != count || count > room)
        return UNKNOWN;
#ifdef ALIKE
    const plan_t *first = *last ? (*last)->then : NULL;        /* what follows itself mostly does so in the next frame, too */
    if (first == *last && first && count * first->size == end - at && NAMED(parts_run)(t, *last, p + at, count, context, rows, ids)) {
        t->mixed = 0;
        return VOUCHED;
    }
#endif
    plan_t *before = NULL;                                     /* packets follow each other by chance, their records do not */
    for (size_t i = 0; i < count; i++) {
        plan_t *plan = before ? before->then : *last;
        if (!(plan && plan->size <= end - at && NAMED(fits)(t, plan, p + at, context))) {
            if (!(plan = NAMED(found)(t, p + at, end - at, context)))
                return UNKNOWN;
            if (before)
                before->then = plan;
        }
        if (!before)
            *last = plan;
        before = plan;
        plan->used = t->now;
        NAMED(row)(t, plan, p + at, rows + i * t->row_size);
        ids[i] = (int32_t)plan->id;
        at += plan->size;
    }
    if (at != end)
        return UNKNOWN;
    for (size_t i = 0; i < count && t->guards; i++)
        if (!NAMED(holds)(t, rows + i * t->row_size))
            return DOUBTFUL;
    t->mixed = 1;
    return VOUCHED;
}

#undef WALKING
#undef NAMED
#undef JOIN
#undef JOIN_
#undef VARIANT
#undef TARGET
#undef PAIRED
#undef ALIKE
