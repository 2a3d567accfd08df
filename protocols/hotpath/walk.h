/* One frame to its rows, and rows to one frame: compiled once for every processor that VARIANT and TARGET name. */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAMED(name) JOIN(name, VARIANT)

/* The rows of a frame, and the plans that they were made by. `room` rows are there; a frame has at most 255. */
TARGET static int NAMED(walk)(table_t *t, const uint8_t *p, size_t n, uint8_t *rows, int32_t *ids, size_t room, size_t *written,
                              plan_t **guess) {
    const framing_t *f = &t->framing;
    *written = 0;
    if (!framed(t, p, n))
        return UNFRAMED;
    if (f->sum_kind != SUM_NONE) {
        size_t size = n - (size_t)f->sum_from - (size_t)f->sum_trail;
        uint32_t sum = NAMED(sum)(t, p + f->sum_from, size);
        if (sum != said_sum(t, p, n))
            return CHECKSUM;
    }
    uint64_t context = load64(p + f->context_at) & (uint64_t)f->context_mask;
    size_t count = 1, at = 0, end = n;
    if (f->parts) {
        count = p[f->count_at], at = (size_t)f->parts_from, end = n - (size_t)f->parts_trail;
        if (p[n - f->again_at] != count || count > room)
            return UNKNOWN;
    }
    for (size_t i = 0; i < count; i++) {
        plan_t *plan = found(t, p + at, end - at, context, *guess);
        if (!plan)
            return UNKNOWN;
        *guess = plan;
        plan->used = t->now;
        uint8_t *row = rows + i * t->row_size;
        NAMED(move)(plan->move, plan->moves, p + at, row, plan->constant);
        if (!guarded(t, row))
            return DOUBTFUL;
        ids[i] = (int32_t)plan->id;
        at += plan->size;
    }
    if (at != end || (f->parts && !count))
        return UNKNOWN;
    *written = count;
    return VOUCHED;
}

/* The part that a row says. */
TARGET static void NAMED(lay)(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    NAMED(move)(plan->lay, plan->lays, row, to, plan->part);
}

TARGET static uint32_t NAMED(sum_of)(const table_t *t, const uint8_t *p, size_t n) {
    return NAMED(sum)(t, p, n);
}

#undef NAMED
#undef JOIN
#undef JOIN_
