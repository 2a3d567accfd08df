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

/* Four frames of this plan, the last one once more where fewer are left: 0, and nothing was said of them, if they are not right. */
WALKING int NAMED(four)(const table_t *t, const plan_t *plan, const walk_t *w, const frames_t *f, const size_t place[4], uint8_t *row[4],
                        int of_list) {
    const uint8_t *p[4];
    const size_t size = plan->size, row_size = t->row_size;
    size_t strange = 0;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        if (of_list) {
            PyObject *each = f->list[place[k]];
            if (Py_TYPE(each) != &PyBytes_Type)
                return 0;
            strange |= (size_t)Py_SIZE(each) ^ size;
            p[k] = (const uint8_t *)((PyBytesObject *)each)->ob_sval;
        } else
            strange |= (size_t)(f->offsets[place[k] + 1] - f->offsets[place[k]]) ^ size, p[k] = f->data + f->offsets[place[k]];
    if (strange)
        return 0;
    for (int k = 0; t->framing.context_mask && k < 4; k++)
        strange |= context_of(t, p[k]) != plan->context;
    if (strange || !four_agree(t, plan, p) || !NAMED(four_hold)(t, p, size))
        return 0;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        row[k] = w->rows + place[k] * row_size;
    fill_four(t, plan, p, row);
    const int32_t id = plan->id;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        w->ids[place[k]] = id, w->status[place[k]] = VOUCHED;
    return 1;
}

/* Frames of this plan, from `at` on or in this order: how many of the first were right. What is behind the order can be read, too. */
WALKING size_t NAMED(run_of)(table_t *t, plan_t *plan, walk_t *w, const frames_t *f, size_t at, const uint16_t *order, size_t n,
                             int of_list, int ordered) {
    size_t done = 0;
    for (int right = 1; right && done < n;) {
        uint8_t *row[TILE];
        const size_t begin = done;
        for (; done < n && done < begin + TILE; done += 4) {
            size_t place[4];
#pragma GCC unroll 4
            for (size_t k = 0; k < 4; k++) {
                const size_t i = done + k < n ? done + k : n - 1;
                place[k] = ordered ? at + order[i] : at + i;
                const size_t next = ordered ? at + order[done + k + NEAR] : 0;
                if (ordered)
                    fetch_row(t, w, next);
                if (ordered && of_list)
                    fetch_object(f->list[next], plan->size);
                else if (of_list && place[k] + TILE < f->n)
                    fetch_object(f->list[place[k] + TILE], plan->size);
            }
            if (!(right = NAMED(four)(t, plan, w, f, place, row + (done - begin), of_list)))
                break;
        }
        done = done < n ? done : n;
        const uint32_t filled = (uint32_t)(done - begin);
        if (t->guards && filled && !all_bounded(t, row, filled))
            for (uint32_t i = 0; i < filled; i++)
                if (!guarded(t, row[i]))
                    doubt(t, w, (size_t)(row[i] - w->rows) / t->row_size);
    }
    plan->used = t->now;
    return done;
}

TARGET static __attribute__((noinline)) size_t NAMED(run)(table_t *t, plan_t *plan, walk_t *w, const frames_t *f, size_t at,
                                                          const uint16_t *order, size_t n) {
    if (t->row_size < 32 || plan->size < CHECK)
        return 0;
    if (f->list)
        return order ? NAMED(run_of)(t, plan, w, f, at, order, n, 1, 1) : NAMED(run_of)(t, plan, w, f, at, NULL, n, 1, 0);
    return order ? NAMED(run_of)(t, plan, w, f, at, order, n, 0, 1) : NAMED(run_of)(t, plan, w, f, at, NULL, n, 0, 0);
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
