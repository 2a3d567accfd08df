/* Frames of several parts of many layouts: the parts of one layout are worked on side by side, wherever they stand. Which plan follows
 * which is guessed by what did so before; all parts are compared with their plans when their rows are filled. If one is another, no
 * frame of these was said anything of, and they are walked one by one. Included by walk.h, as fours.h is. */

/* A frame's parts, as they are guessed: how many; 0 if nothing can be, or if it is to be walked by itself. */
WALKING size_t NAMED(guessed)(const table_t *t, parts_t *c, const uint8_t *p, size_t n, size_t room, plan_t **first) {
    const framing_t *f = &t->framing;
    if (!framed(t, p, n) || !NAMED(summed)(t, p, n))
        return 0;
    const uint64_t context = context_of(t, p);
    const size_t count = p[f->count_at], end = n - (size_t)f->parts_trail;
    size_t at = (size_t)f->parts_from;
    if (!count || p[n - f->again_at] != count || c->n + count > PARTS || c->n + count > room)
        return 0;
    plan_t *plan = *first = likely(t, p + at, end - at, context);
    for (size_t k = 0; k < count; k++, plan = plan->then) {
        if (!plan || plan->size > end - at || plan->context != context || plan->size < CHECK)
            return 0;
        const uint32_t group = group_of_plan(c, plan);
        if (group == CROWD)
            return 0;
        c->part[c->n + k] = p + at, c->of[c->n + k] = (uint8_t)group;
        at += plan->size;
    }
    if (at != end)
        return 0;
    for (size_t k = 0; k < count; k++)
        c->count[c->of[c->n + k]]++;
    c->n += (uint32_t)count;
    return count;
}

/* The rows of a group's parts; whether all of them are of its plan and right. */
WALKING int NAMED(group_filled)(table_t *t, const parts_t *c, plan_t *plan, const uint16_t *order, size_t n, uint8_t *rows, int32_t *ids) {
    const size_t row_size = t->row_size;
    for (size_t done = 0; done < n;) {
        uint8_t *row[TILE];
        const size_t begin = done;
        for (; done < n && done < begin + TILE; done += 4) {   /* the last one once more until there are four */
            const uint8_t *p[4];
#pragma GCC unroll 4
            for (size_t k = 0; k < 4; k++) {
                const uint16_t i = order[done + k < n ? done + k : n - 1], next = order[done + k + NEAR];
                fetch(c->part[next], plan->size), fetch_room(rows + next * row_size, row_size);
                p[k] = c->part[i], row[done - begin + k] = rows + i * row_size, ids[i] = (int32_t)plan->id;
            }
            if (!four_agree(t, plan, p))
                return 0;
            fill_four(t, plan, p, row + (done - begin));
        }
        done = done < n ? done : n;
        if (t->guards && !all_bounded(t, row, (uint32_t)(done - begin)))
            for (size_t i = 0; i < done - begin; i++)
                if (!guarded(t, row[i]))
                    return 0;
    }
    plan->used = t->now;
    return 1;
}

/* The next frames, if all of them are right: how many. 0: the next one is to be walked by itself. */
TARGET static __attribute__((noinline)) size_t NAMED(parts_apart)(table_t *t, walk_t *w, const frames_t *f, size_t begin) {
    parts_t c;
    memset(&c, 0, offsetof(parts_t, of));
    plan_t *first = NULL, *last = w->last;
    size_t i = begin, size = 0;
    for (; i < f->n; i++) {
        if (f->list && !PyBytes_CheckExact(f->list[i]))
            break;
        const uint8_t *p = frame_at(f, i, &size);
        fetch_long(f, i, size);
        const uint32_t before = c.n;
        if (!NAMED(guessed)(t, &c, p, size, w->room - w->written, &first))
            break;
        if (w->starts)
            w->starts[i] = (uint32_t)(w->written + before);
        last = first;
    }
    if (c.n < FEW * c.groups || !c.n) {
        t->patience = (uint32_t)(i - begin);
        return 0;
    }
    uint32_t at[CROWD + 1] = {0};
    for (uint32_t k = 0; k < c.groups; k++)
        at[k + 1] = at[k] + c.count[k];
    for (uint32_t k = 0; k < c.n; k++)
        c.order[at[c.of[k]]++] = (uint16_t)k;
    memset(c.order + c.n, 0, (NEAR + 4) * sizeof *c.order);
    uint8_t *rows = w->rows + w->written * t->row_size;
    for (uint32_t k = 0; k < c.groups; k++)
        if (!NAMED(group_filled)(t, &c, c.plan[k], c.order + at[k] - c.count[k], c.count[k], rows, w->ids + w->written)) {
            t->patience = PATIENCE;
            return 0;
        }
    memset(w->status + begin, VOUCHED, i - begin);
    w->written += c.n, w->last = last, t->mixed = c.groups > 1;
    return i - begin;
}
