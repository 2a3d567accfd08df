/* Frames to rows: compiled once for every processor that VARIANT and TARGET name. */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAMED(name) JOIN(name, VARIANT)

TARGET static inline __attribute__((always_inline)) void NAMED(row)(const table_t *t, const plan_t *plan, const uint8_t *p,
                                                                   uint8_t *row) {
    NAMED(fill)(t, plan, p, row);
    for (uint32_t k = 0; k < t->present_size / 8; k++)
        memcpy(row + 8 * k, plan->present + k, 8);
}

TARGET static inline __attribute__((always_inline)) int NAMED(summed)(const table_t *t, const uint8_t *p, size_t n) {
    const framing_t *f = &t->framing;
    if (f->sum_kind == SUM_NONE)
        return 1;
    return NAMED(sum)(t, p + f->sum_from, n - (size_t)f->sum_from - (size_t)f->sum_trail) == said_sum(t, p, n);
}

/* Frames that are one part each. Stage by stage: what one frame waits for, the next ones do meanwhile. */
TARGET static void NAMED(walk_tile)(table_t *t, const tile_t *tile, uint8_t *rows, uint8_t *status, int32_t *ids) {
    plan_t *plan[TILE], *guess = NULL;
    for (uint32_t i = 0; i < tile->n; i++) {
        const uint8_t *p = tile->frame[i];
        plan[i] = NULL;
        status[i] = UNFRAMED;
        if (!framed(t, p, tile->size[i]))
            continue;
        status[i] = UNKNOWN;
        uint64_t context = load64(p + t->framing.context_at) & (uint64_t)t->framing.context_mask;
        if (!(plan[i] = found(t, p, tile->size[i], context, guess)))
            continue;
        fetch(plan[i], 256);
        guess = plan[i];
    }
    for (uint32_t i = 0; i < tile->n; i++) {
        uint8_t *row = rows + (size_t)i * t->row_size;
        ids[i] = -1;
        if (status[i] != UNFRAMED && !NAMED(summed)(t, tile->frame[i], tile->size[i]))
            status[i] = CHECKSUM, plan[i] = NULL;
        if (!plan[i]) {
            memset(row, 0, t->row_size);
            continue;
        }
        NAMED(row)(t, plan[i], tile->frame[i], row);
        plan[i]->used = t->now;
        ids[i] = (int32_t)plan[i]->id, status[i] = VOUCHED;
    }
    for (uint32_t i = 0; i < tile->n && t->guards; i++) {
        uint8_t *row = rows + (size_t)i * t->row_size;
        if (plan[i] && !guarded(t, row))
            memset(row, 0, t->row_size), ids[i] = -1, status[i] = DOUBTFUL;
    }
}

/* The rows of a frame of several parts, and the plans that they were made by. `room` rows are there; a frame has at most 255. */
TARGET static int NAMED(walk_parts)(table_t *t, const uint8_t *p, size_t n, uint8_t *rows, int32_t *ids, size_t room,
                                    plan_t **guess) {
    const framing_t *f = &t->framing;
    if (!framed(t, p, n))
        return UNFRAMED;
    if (!NAMED(summed)(t, p, n))
        return CHECKSUM;
    uint64_t context = load64(p + f->context_at) & (uint64_t)f->context_mask;
    size_t count = p[f->count_at], at = (size_t)f->parts_from, end = n - (size_t)f->parts_trail;
    if (!count || p[n - f->again_at] != count || count > room)
        return UNKNOWN;
    for (size_t i = 0; i < count; i++) {
        plan_t *plan = found(t, p + at, end - at, context, *guess);
        if (!plan)
            return UNKNOWN;
        *guess = plan;
        plan->used = t->now;
        NAMED(row)(t, plan, p + at, rows + i * t->row_size);
        ids[i] = (int32_t)plan->id;
        at += plan->size;
    }
    if (at != end)
        return UNKNOWN;
    for (size_t i = 0; i < count && t->guards; i++)
        if (!guarded(t, rows + i * t->row_size))
            return DOUBTFUL;
    return VOUCHED;
}

#undef NAMED
#undef JOIN
#undef JOIN_
