/* Frames of many layouts: they are counted and sorted by layout, then those of one are worked on side by side. */

enum { SLOTS = 1024, FAMILIES = 32, WINDOW = 1024 };
enum { NOBODY = CROWD, OF_FAMILY };                            /* groups that are none; OF_FAMILY + k: another hash tells */
typedef struct {
    uint32_t slot[SLOTS];                                      /* 24 bits of the key, and 8 that say its group, plus 1; 0: free */
    plan_t *plan[CROWD];
    const family_t *family[FAMILIES];
    uint32_t groups, families, slots, begun;
    uint32_t count[CROWD + 1];
    uint8_t of[WINDOW];                                        /* each frame's group */
    uint16_t order[WINDOW + NEAR + 4];
} crowd_t;

/* The slot of a key: its own, or one that is free. */
static inline uint32_t slot_of(const crowd_t *c, uint64_t key) {
    uint32_t slot = key & (SLOTS - 1);
    while ((c->slot[slot] ^ (uint32_t)(key >> 32)) >> 8 && c->slot[slot])
        slot = (slot + 1) & (SLOTS - 1);
    return slot;
}

/* A key that was not seen before. `family`: its layouts are told from each other by another hash. */
static __attribute__((noinline)) uint32_t begin_slot(crowd_t *c, uint32_t slot, uint64_t key, const family_t *family, plan_t *plan) {
    uint32_t group = NOBODY;
    if (c->slots == SLOTS / 2)                                 /* room is left: looking for a slot comes to an end */
        return NOBODY;
    if (family && c->families < FAMILIES)
        c->family[c->families] = family, group = OF_FAMILY + c->families++;
    else if (!family && plan && c->groups < CROWD)
        c->plan[c->groups] = plan, group = c->groups++;
    c->slots++, c->slot[slot] = ((uint32_t)(key >> 32) & ~255u) | (group + 1);
    return group;
}

/* The group of a frame's layout. What it is, is made sure of later. */
static inline uint32_t group_of(const table_t *t, crowd_t *c, const uint8_t *p, size_t n) {
    const uint64_t context = context_of(t, p), key = key_of(t, p, n, context);
    uint32_t slot = slot_of(c, key), group = (c->slot[slot] & 255) - 1;
    if (!c->slot[slot]) {
        const family_t *family = family_of(t, key);
        group = begin_slot(c, slot, key, family && family->first->rest->sibling ? family : NULL, likely(t, p, n, context));
    }
    if (group < OF_FAMILY)
        return group;
    const family_t *family = c->family[group - OF_FAMILY];
    if (family->least > n)
        return NOBODY;
    const uint64_t hash = hash_of(family, p);
    slot = slot_of(c, hash);
    group = (c->slot[slot] & 255) - 1;
    return c->slot[slot] ? group < OF_FAMILY ? group : NOBODY : begin_slot(c, slot, hash, NULL, likely(t, p, n, context));
}

/* Which group each frame is of, and how many of each there are; 0 with an error. */
static int told_apart(table_t *t, const frames_t *f, size_t at, size_t all, crowd_t *c) {
    size_t size = 128;
    uint32_t changes = 0, before = NOBODY;
    for (size_t i = 0; i < all; i++) {
        fetch_ahead(f, at + i, size);
        if (!is_frame(f, at + i))
            return 0;
        const uint8_t *p = frame_at(f, at + i, &size);
        const uint32_t group = size < (size_t)t->framing.least ? NOBODY : group_of(t, c, p, size);
        changes += group != before, before = group;
        c->of[i] = (uint8_t)group, c->count[group]++;
    }
    t->mixed = changes * 8 > all;
    return 1;
}

/* The next frames where they are of many layouts. How many; 0 with an error. */
static size_t by_layout(table_t *t, walk_t *w, const frames_t *f, size_t at, crowd_t *c) {
    const size_t all = f->n - at < WINDOW ? f->n - at : WINDOW;
    if (!c->begun)
        memset(c, 0, offsetof(crowd_t, count)), c->begun = 1;
    memset(c->count, 0, sizeof c->count);
    if (!told_apart(t, f, at, all, c))
        return 0;
    uint32_t begin[CROWD + 1], end[CROWD + 1], total = 0;
    uint8_t into[CROWD + 1];
    int few = 0;
    for (uint32_t k = 0; k < c->groups; k++) {                 /* those that are few are nobody's: they are walked as they come */
        const int own = c->count[k] >= FEW;
        into[k] = (uint8_t)(own ? k : NOBODY), few |= !own && c->count[k];
        begin[k] = end[k] = total, total += own ? c->count[k] : 0;
    }
    begin[NOBODY] = end[NOBODY] = total, into[NOBODY] = NOBODY;
    for (size_t i = 0; few && i < all; i++)
        c->of[i] = into[c->of[i]];
    for (size_t i = 0; i < all; i++)
        c->order[end[c->of[i]]++] = (uint16_t)i;
    memset(c->order + all, 0, sizeof c->order - sizeof *c->order * all);
    for (uint32_t k = 0; k < c->groups; k++) {
        plan_t *last = c->plan[k];
        for (uint32_t done = begin[k]; done < end[k];) {       /* what is not of this plan, or not right, is among few others */
            done += (uint32_t)run(t, c->plan[k], w, f, at, c->order + done, end[k] - done);
            const uint32_t n = end[k] - done < TILE ? end[k] - done : TILE;
            if (!each(t, w, f, at, c->order + done, n, &last))
                return 0;
            done += n;
        }
    }
    plan_t *last = NULL;
    return each(t, w, f, at, c->order + begin[NOBODY], end[NOBODY] - begin[NOBODY], &last) ? all : 0;
}
