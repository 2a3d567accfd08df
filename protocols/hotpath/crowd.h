/* Frames of many layouts: they are counted and sorted by layout, then those of one are worked on side by side. What tells layouts
 * apart are their size and what those of one size differ in; which one it is, is made sure of later. Included by frames.h. */

enum { NOBODY = GROUPS, WINDOW = 4096, SEEDS = 64 };
typedef struct {
    const uint8_t *place[WINDOW];
    uint16_t of[WINDOW];                                       /* each frame's group */
    uint16_t order[WINDOW + TILE];
    uint16_t count[GROUPS + 1], end[GROUPS + 1];
} crowd_t;

static inline uint64_t kind_hash(const kind_t *kind, const uint8_t *p, uint32_t probes) { /* unused probes look at nothing */
    uint64_t hash = kind->seed;
    for (uint32_t i = 0; i < probes; i++)
        hash += spread(load64(p + kind->at[i]) & kind->mask[i], i);
    return hash;
}

static inline uint32_t *slot_of(const sorts_t *a, uint64_t hash) {
    return (uint32_t *)&a->slot[hash >> a->slot_shift];
}

static inline uint32_t tag_of(uint64_t hash) {
    return (uint32_t)(hash >> 16) << 16;
}

/* How many different hashes those of a kind have if they are looked at here, too. */
static uint32_t told_at(sorts_t *a, const kind_t *kind, uint32_t at, uint64_t mask, uint32_t n) {
    uint32_t different = 0;
    a->stamps++;
    for (uint32_t k = kind->first; k; k = a->alike[k - 1]) {
        const uint64_t hash = a->hash[k - 1] + spread(load64(a->plan[k - 1]->rest->part + at) & mask, n);
        uint32_t *stamp = &a->stamp[hash >> (64 - SLOT_BITS)];
        different += *stamp != a->stamps, *stamp = a->stamps;
    }
    return different;
}

/* Where to look at frames of one size: where it tells most layouts apart, until all of them are or no more can be. */
static void tell_size(sorts_t *a, kind_t *kind) {
    const plan_t *first = a->plan[kind->first - 1];
    const uint32_t size = first->size;
    uint8_t common[PART_LIMIT], differing[PART_LIMIT];
    uint32_t all = 0, told = 1, n = 0;
    memset(common, 255, size), memset(differing, 0, size);
    for (uint32_t k = kind->first; k; k = a->alike[k - 1], all++) {
        const rest_t *rest = a->plan[k - 1]->rest;
        a->hash[k - 1] = 0;
        for (uint32_t i = 0; i < size; i++)
            common[i] &= rest->mask[i], differing[i] |= rest->part[i] != first->rest->part[i] ? 255 : 0;
    }
    for (; n < PROBES && told < all; n++) {
        uint32_t best = told;
        for (uint32_t at = 0; at + 8 <= size && best < all; at++) {
            const uint64_t mask = load64(common + at) & load64(differing + at);
            const uint32_t now = mask & 255 ? told_at(a, kind, at, mask, n) : 0; /* else a later one sees as much */
            if (now > best)
                best = now, kind->at[n] = (uint16_t)at, kind->mask[n] = mask;
        }
        if (best == told)
            break;
        told = best;
        for (uint32_t k = kind->first; k; k = a->alike[k - 1])
            a->hash[k - 1] += spread(load64(a->plan[k - 1]->rest->part + kind->at[n]) & kind->mask[n], n);
    }
    a->probes = more(a->probes, n), a->longest = more(a->longest, size < 256 ? size : 256);
}

/* Slots for those of a kind; how many share one with another. */
static uint32_t fill_slots(sorts_t *a, kind_t *kind, uint64_t seed, uint32_t most) {
    uint32_t shared = 0;
    kind->seed = (seed + 1) * 0xD6E8FEB86659FD93ull;
    for (uint32_t k = kind->first; k && shared <= most; k = a->alike[k - 1]) {
        const uint64_t hash = kind->seed + a->hash[k - 1];
        uint32_t *slot = slot_of(a, hash);
        shared += *slot != 0;
        if (!*slot)
            *slot = tag_of(hash) | k;
    }
    return shared;
}

static void clear_slots(sorts_t *a, const kind_t *kind) {
    for (uint32_t k = kind->first; k; k = a->alike[k - 1]) {
        uint32_t *slot = slot_of(a, kind->seed + a->hash[k - 1]);
        if ((*slot & 0xFFFF) == k)
            *slot = 0;
    }
}

/* The first seed by which nobody's slot is another's; if there is none among some, that by which the fewest are. */
static void find_slots(sorts_t *a, kind_t *kind) {
    uint32_t least = GROUPS, best = 0;
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        const uint32_t shared = fill_slots(a, kind, seed, least);
        if (!shared)
            return;
        if (shared < least)
            least = shared, best = seed;
        clear_slots(a, kind);
    }
    fill_slots(a, kind, best, GROUPS);
}

/* Whether frames can be told apart: what is needed is made anew where plans came or went, but no more often than a quarter as many
 * frames as there are plans came meanwhile, so that ever new layouts cost no more than that. Nobody else walks meanwhile. */
static int can_sort(table_t *t, size_t n) {
    sorts_t *a = t->sorts;
    const int fresh = !a;
    const int wanted = t->plain && (t->mixed || (broad && t->glances)); /* whole.h needs it for all frames, not only for many layouts' */
    if (!wanted || n < FEW || (a && a->ready) || t->busy)
        return wanted && a && a->ready;
    if (4 * (t->waited += n) < t->n)
        return 0;
    t->waited = 0;
    if (!a && !(a = t->sorts = aligned_alloc(64, (sizeof *a + 63) / 64 * 64)))
        return 0;
    if (fresh)
        a->ends = NULL;
    memset(a->kind, 0, sizeof *a->kind), memset(a->stamp, 0, sizeof a->stamp), a->stamps = 0;
    memset(a->kind_of, 0, sizeof a->kind_of);
    a->groups = a->kinds = a->probes = a->longest = 0, a->ready = 1;
    for (uint32_t id = 0; id < t->capacity && a->groups < GROUPS; id++)
        if (t->plan[id])
            t->plan[id]->rest->group = a->groups, a->size[a->groups] = t->plan[id]->size, a->plan[a->groups++] = t->plan[id];
    for (uint32_t k = a->groups; k--;) {
        uint16_t *of = &a->kind_of[a->size[k]];
        if (!*of)
            memset(&a->kind[*of = (uint16_t)++a->kinds], 0, sizeof *a->kind);
        a->alike[k] = a->kind[*of].first, a->kind[*of].first = (uint16_t)(k + 1);
    }
    for (a->slot_shift = 64 - 4; a->slot_shift > 64 - SLOT_BITS && a->groups << 2 > 1u << (64 - a->slot_shift); a->slot_shift--)
        ;
    memset(a->slot, 0, sizeof *a->slot << (64 - a->slot_shift));
    for (uint32_t k = 1; k <= a->kinds; k++)
        tell_size(a, &a->kind[k]), find_slots(a, &a->kind[k]);
    all_ends(t, a);
    return 1;
}

/* The group of a frame whose slot has another one. */
static __attribute__((noinline)) uint32_t other_group(const table_t *t, const uint8_t *p, size_t n) {
    const plan_t *plan = likely(t, p, n, 0);
    return plan && plan->rest->group < t->sorts->groups && t->sorts->plan[plan->rest->group] == plan ? plan->rest->group : NOBODY;
}

static inline uint32_t group_of(const table_t *t, const uint8_t *p, size_t n, uint32_t probes) {
    const sorts_t *a = t->sorts;
    const uint32_t kind = n <= PART_LIMIT ? a->kind_of[n] : 0;
    if (!kind)
        return NOBODY;
    const uint64_t hash = kind_hash(&a->kind[kind], p, probes);
    const uint32_t slot = *slot_of(a, hash);
    uint32_t group = (slot & 0xFFFF) - 1;
    if ((slot ^ tag_of(hash)) >> 16 || !slot)
        group = slot ? other_group(t, p, n) : NOBODY;
    return group != NOBODY && a->size[group] == n ? group : NOBODY;
}

/* Which group each frame is of, and how many of each there are; 0 with an error. */
static inline __attribute__((always_inline)) int told_by(table_t *t, const frames_t *f, size_t at, size_t all, crowd_t *c,
                                                         uint32_t probes) {
    const size_t longest = t->sorts->longest;                  /* as much of each: no branch depends on its size */
    uint32_t changes = 0, before = NOBODY;
    size_t size;
    for (size_t i = 0; i < all; i++) {
        fetch_ahead(f, at + i, longest);
        if (!is_frame(f, at + i))
            return 0;
        const uint8_t *p = frame_at(f, at + i, &size);
        const uint32_t group = group_of(t, p, size, probes);
        changes += group != before, before = group;
        c->place[i] = p, c->of[i] = (uint16_t)group, c->count[group]++;
    }
    t->mixed = changes * 8 > all;
    return 1;
}

static __attribute__((noinline)) int told_apart(table_t *t, const frames_t *f, size_t at, size_t all, crowd_t *c) {
    switch (t->sorts->probes) {
    case 0: return told_by(t, f, at, all, c, 0);
    case 1: return told_by(t, f, at, all, c, 1);
    case 2: return told_by(t, f, at, all, c, 2);
    case 3: return told_by(t, f, at, all, c, 3);
    default: return told_by(t, f, at, all, c, PROBES);
    }
}

/* The frames in order of their groups. How many have one that is not too few. */
static uint32_t in_groups(uint32_t groups, crowd_t *c, size_t all) {
    uint32_t total = 0, few = 0;
    for (uint32_t k = 0; k < groups; k++) {                    /* those that are few are nobody's: they are walked as they come */
        const uint32_t count = c->count[k], own = count >= FEW ? count : 0;
        few |= count != own, c->count[k] = (uint16_t)own;
        c->end[k] = (uint16_t)total, total += own;
    }
    c->end[NOBODY] = (uint16_t)total;
    for (size_t i = 0; few && i < all; i++)
        c->of[i] = c->of[i] != NOBODY && !c->count[c->of[i]] ? NOBODY : c->of[i];
    for (size_t i = 0; i < all; i++)
        c->order[c->end[c->of[i]]++] = (uint16_t)i;
    memset(c->order + all, 0, TILE * sizeof *c->order);
    return total;
}

/* The next frames where they are of many layouts. How many; 0 with an error. */
static __attribute__((noinline)) size_t by_layout(table_t *t, walk_t *w, const frames_t *f, size_t at) {
    const size_t all = f->n - at < WINDOW ? f->n - at : WINDOW;
    const uint32_t groups = t->sorts->groups;
    crowd_t c;
    memset(c.count, 0, groups * sizeof *c.count), c.count[NOBODY] = 0;
    if (!told_apart(t, f, at, all, &c))
        return 0;
    const uint32_t total = in_groups(groups, &c, all);
    for (uint32_t k = 0; k < groups; k++) {
        plan_t *plan = t->sorts->plan[k], *last = plan;
        const uint32_t end = c.end[k];
        for (uint32_t done = end - c.count[k]; done < end;) {  /* what is not of this plan, or not right, is among few others */
            done += (uint32_t)run(t, plan, w, f, at, c.place, c.order + done, end - done);
            const uint32_t n = end - done < TILE ? end - done : TILE;
            if (!each(t, w, f, at, c.order + done, n, &last))
                return 0;
            done += n;
        }
    }
    plan_t *last = NULL;
    return each(t, w, f, at, c.order + total, all - total, &last) ? all : 0;
}
