/* Runs of frames, or of parts, of one layout: four at a time. Included by walk.h, once for each processor that has 32-byte registers. */

/* Whether the checksums of four frames of one size hold. */
WALKING int NAMED(four_hold)(const table_t *t, const uint8_t *const p[4], size_t n) {
    const framing_t *f = &t->framing;
    if (f->sum_kind == SUM_NONE)
        return 1;
    const size_t from = (size_t)f->sum_from, left = n - from - (size_t)f->sum_trail;
    const uint8_t *q[4] = {p[0] + from, p[1] + from, p[2] + from, p[3] + from};
    uint64_t wrong = 0;
    if (f->sum_kind == SUM_XOR && left >= 16) {
        uint64_t sum[4];
        xors_of_four(q, left, sum);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            wrong |= sum[k] ^ said_sum(t, p[k], n);
        return !wrong;
    }
#ifdef PAIRED
    if (t->summed_by_four) {
        uint32_t sum[4];
        t->crc.reflected ? crc_alike(&t->crc, &t->fold, q, left, 1, sum) : crc_alike(&t->crc, &t->fold, q, left, 0, sum);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            wrong |= sum[k] ^ said_sum(t, p[k], n);
        return !wrong;
    }
#endif
    for (int k = 0; k < 4; k++)
        wrong |= !NAMED(summed)(t, p[k], n);
    return !wrong;
}

/* Frames of this plan, from `at` on, or those at these places in this order, which are of its size: how many of the first were right.
 * What is behind the order can be read, too. */
WALKING size_t NAMED(run_of)(table_t *t, plan_t *plan, walk_t *w, const frames_t *f, size_t at, const uint8_t *const *place,
                             const uint16_t *order, size_t n, int of_list) {
    const size_t row_size = t->row_size, size = plan->size;
    const int32_t id = plan->id;
    uint8_t *const rows = w->rows + at * row_size, *const status = w->status + at;
    int32_t *const ids = w->ids + at;
    plan->used = t->now;
    for (size_t done = 0, all; done < n; done += all) {
        const uint8_t *p[TILE];
        uint8_t *row[TILE];
        for (all = 0; all < TILE && done + all < n; all++) {
            const size_t i = order ? order[done + all] : done + all, frame = at + i;
            row[all] = rows + i * row_size;
            if (order) {
                const size_t next = order[done + all + NEAR];
                p[all] = place[i];
                fetch(place[next], 1), fetch(place[next] + 64, 1), fetch(place[next] + size - 1, 1);
                fetch_room(rows + next * row_size, row_size);
                continue;
            }
            if (of_list) {
                const PyObject *each = f->list[frame];
                if (Py_TYPE(each) != &PyBytes_Type || (size_t)Py_SIZE(each) != size)
                    break;
                p[all] = (const uint8_t *)((const PyBytesObject *)each)->ob_sval;
                if (frame + TILE < f->n)
                    fetch_object(f->list[frame + TILE], size);
            } else {
                if (f->offsets[frame + 1] - f->offsets[frame] != size)
                    break;
                p[all] = f->data + f->offsets[frame];
            }
            if (t->framing.context_mask && context_of(t, p[all]) != plan->context)
                break;
        }
        if (!all)
            return done;
        for (size_t k = all; k % 4; k++)                       /* the last one once more until there are four */
            p[k] = p[all - 1], row[k] = row[all - 1];
        for (size_t k = 0; k < all; k += 4)
            if (!four_agree(t, plan, p + k) || !NAMED(four_hold)(t, p + k, size))
                return done;
        for (size_t k = 0; k < all; k += 4)
            fill_four(t, plan, p + k, row + k);
        for (size_t k = 0; k < all; k++) {
            const size_t i = order ? order[done + k] : done + k;
            ids[i] = id, status[i] = VOUCHED;
        }
        if (t->guards && !all_bounded(t, row, (uint32_t)all))
            for (size_t k = 0; k < all; k++)
                if (!guarded(t, row[k]))
                    doubt(t, w, (size_t)(row[k] - w->rows) / row_size);
    }
    return n;
}

TARGET static __attribute__((noinline)) size_t NAMED(run)(table_t *t, plan_t *plan, walk_t *w, const frames_t *f, size_t at,
                                                          const uint8_t *const *place, const uint16_t *order, size_t n) {
    if (t->row_size < 32 || plan->size < CHECK)
        return 0;
    if (order)
        return NAMED(run_of)(t, plan, w, f, at, place, order, n, 0);
    return f->list ? NAMED(run_of)(t, plan, w, f, at, NULL, NULL, n, 1) : NAMED(run_of)(t, plan, w, f, at, NULL, NULL, n, 0);
}

/* Parts beside each other that are all of this plan and right; 0 if they are not. */
TARGET static int NAMED(parts_run)(table_t *t, plan_t *plan, const uint8_t *p, size_t count, uint64_t context, uint8_t *rows,
                                   int32_t *ids) {
    if (t->row_size < 32 || plan->size < CHECK || plan->context != context)
        return 0;
    const size_t size = plan->size, row_size = t->row_size;
    uint8_t *row[256 + 4];
    for (size_t done = 0; done < count; done += 4) {           /* the last one once more until there are four */
        const uint8_t *q[4];
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++) {
            const size_t i = done + k < count ? done + k : count - 1;
            q[k] = p + i * size, row[done + k] = rows + i * row_size;
        }
        if (!four_agree(t, plan, q))
            return 0;
        fill_four(t, plan, q, row + done);
    }
    if (t->guards && !all_bounded(t, row, (uint32_t)count))
        for (size_t i = 0; i < count; i++)
            if (!guarded(t, row[i]))
                return 0;
    const int32_t id = plan->id;
    for (size_t i = 0; i < count; i++)
        ids[i] = id;
    plan->used = t->now;
    return 1;
}
