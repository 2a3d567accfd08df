/* How a plan is made of what was learnt: in one piece of memory, with as much to do as the others. Included by table.h. */

/* Moves are packed; their windows must lie inside what they read and write. Those to rows begin each block in turn. */
static int right_moves(const Py_buffer *packed, size_t from_size, size_t to_size, int to_row) {
    const move_t *m = packed->buf;
    size_t n = (size_t)packed->len / sizeof *m;
    if ((size_t)packed->len % sizeof *m)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (m[i].from + 16u > from_size || m[i].to + 16u > to_size || m[i].first > ZERO || (i == 0 && m[i].first == ONTO))
            return 0;
    for (size_t i = 0, at = 0; to_row && i <= n; i++) {
        if (i == n ? at != to_size : m[i].first != ONTO && m[i].to != at)
            return 0;
        at += i < n && m[i].first != ONTO ? 16 : 0;
    }
    return 1;
}

typedef struct { Py_buffer part, mask, moves, constant, lays, head; } drawn_t;

/* Where a plan must be looked at: every 32 bytes that have structure. */
static uint32_t looked_at(const uint8_t *mask, uint32_t size, uint16_t at[PART_LIMIT / CHECK]) {
    uint32_t n = 0;
    for (uint32_t begin = 0; begin < size && size >= CHECK; begin += CHECK) {
        uint32_t from = begin + CHECK > size ? size - CHECK : begin;
        int any = 0;
        for (uint32_t i = begin; i < from + CHECK; i++)
            any |= mask[i];
        if (any)
            at[n++] = (uint16_t)from;
    }
    return n;
}

/* All plans have as many checks and extras as any, unless it has very many. */
static void level_out(table_t *t, plan_t *plan) {
    t->checks = (uint16_t)more(t->checks, plan->checks > MANY ? 0 : plan->checks);
    t->extras = (uint16_t)more(t->extras, plan->extras > MANY ? 0 : plan->extras);
    t->duos = (uint16_t)more(t->duos, plan->duos > MANY ? 0 : plan->duos);
    plan->checks = (uint16_t)more(plan->checks, t->checks), plan->extras = (uint16_t)more(plan->extras, t->extras);
    plan->duos = (uint16_t)more(plan->duos, t->duos);
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->plan[i]) {
            t->plan[i]->checks = (uint16_t)more(t->plan[i]->checks, t->checks);
            t->plan[i]->extras = (uint16_t)more(t->plan[i]->extras, t->extras);
            t->plan[i]->duos = (uint16_t)more(t->plan[i]->duos, t->duos);
        }
}

/* A plan's extras put together: those of two blocks beside each other are one. Its steps: the blocks two after two, each with its
 * extras after it. */
static void pair_up(const table_t *t, plan_t *plan) {
    const check_t *check = checks(t, plan);
    const extra_t *extra = extras(plan, check);
    const uint16_t *from = froms(t, plan);
    duo_t *duo = (duo_t *)duos(plan, check);
    step_t *step = plan->rest->step;
    const uint32_t pairs = (t->row_size + 31) / 32, n = plan->extras;
    for (uint32_t k = 0; k < pairs; k++) {
        const uint32_t at = pair_at(t, k);
        uint32_t made[2] = {0, 0};
        duo_t *first = duo + plan->duos;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t half = extra[i].to != at;
            if (pair_of_block(t, extra[i].to) != k)
                continue;
            duo_t *of = first + made[half]++;
            if (made[half] > made[!half])
                memset(of, 0, sizeof *of), memset(of->order, 128, 32), of->to = (uint16_t)at;
            *(half ? &of->b : &of->a) = extra[i].from;
            memcpy(of->order + 16 * half, extra[i].order, 16);
        }
        const uint32_t all = more(made[0], made[1]);
        plan->duos = (uint16_t)(plan->duos + all);
        *step = (step_t){.a = from[at / 16], .b = from[at / 16 + 1], .to = (uint16_t)at, .more = all > 0, .present = at < t->present_size};
        memcpy(step++->order, plan->order + at, 32);
        for (const duo_t *each = first; each < first + all; each++) {
            *step = (step_t){.a = each->a, .b = each->b, .to = (uint16_t)at, .more = each + 1 < first + all};
            memcpy(step++->order, each->order, 32);
        }
    }
    plan->rest->steps = (uint32_t)(step - plan->rest->step);
    for (uint32_t i = plan->duos; i < plan->duo_room; i++) /* each onto other blocks: none waits for the one before */
        duo[i].to = (uint16_t)pair_at(t, i % pairs), memset(duo[i].order, 128, 32);
}

/* A plan in one piece of memory: what is needed for every frame stands first. */
static plan_t *planned(const table_t *t, const drawn_t *d) {
    uint16_t at[PART_LIMIT / CHECK];
    const move_t *m = d->moves.buf;
    const size_t moves = (size_t)d->moves.len / sizeof *m, blocks = t->row_size / 16, part = (size_t)d->part.len;
    const uint32_t n = looked_at(d->mask.buf, (uint32_t)part, at), check_room = more(n, MANY), extra_room = more(moves - blocks, MANY);
    const size_t lays = (size_t)d->lays.len, head = (size_t)d->head.len;
    const size_t hot = (sizeof(plan_t) + t->at.check + check_room * (sizeof(check_t) + 2) + extra_room * (sizeof(duo_t) + sizeof(extra_t)) + 7) & ~7ull;
    const size_t steps = ((blocks + 1) / 2 + extra_room) * sizeof(step_t);
    const size_t size = (hot + sizeof(rest_t) + steps + lays + head + 2 * part + 63) / 64 * 64;
    glance_t *glance = aligned_alloc(64, sizeof *glance + size);
    if (!glance)
        return NULL;
    plan_t *plan = (plan_t *)(glance + 1);
    memset(glance, 0, sizeof *glance + size);
    plan->check_room = (uint16_t)check_room, plan->extra_room = plan->duo_room = (uint16_t)extra_room;
    check_t *check = (check_t *)checks(t, plan);
    extra_t *extra = (extra_t *)extras(plan, check);
    uint16_t *from = (uint16_t *)froms(t, plan);
    memcpy(plan->order + t->at.present, d->constant.buf, t->present_size);
    memcpy((uint16_t *)check_places(plan, check), at, 2 * n);
    for (size_t i = 0; i < moves; i++)
        if (m[i].first == ONTO) {
            extra[plan->extras] = (extra_t){.from = m[i].from, .to = m[i].to};
            memcpy(extra[plan->extras++].order, m[i].order, 16);
        } else
            from[m[i].to / 16] = m[i].from, memcpy(plan->order + m[i].to, m[i].order, 16);
    for (uint32_t i = plan->extras; i < extra_room; i++) /* each onto another block: none waits for the one before */
        extra[i].to = (uint16_t)(16 * (i % blocks)), memset(extra[i].order, 128, 16);
    rest_t *rest = plan->rest = (rest_t *)((uint8_t *)plan + hot);
    rest->step = (step_t *)(rest + 1);
    rest->lay = memcpy((uint8_t *)rest->step + steps, d->lays.buf, lays);
    rest->lays = (uint32_t)(lays / sizeof(move_t));
    rest->part = memcpy((uint8_t *)rest->lay + lays, d->part.buf, part);
    rest->mask = memcpy(rest->part + part, d->mask.buf, part);
    rest->head = memcpy(rest->mask + part, d->head.buf, head);
    if (blocks > 1)
        pair_up(t, plan);
    for (size_t i = 0; i < part; i++)
        rest->part[i] &= rest->mask[i];
    for (uint32_t i = 0; i < n; i++)
        memcpy(check[i].mask, rest->mask + at[i], CHECK), memcpy(check[i].value, rest->part + at[i], CHECK);
    plan->size = (uint16_t)part, plan->checks = (uint16_t)n, rest->checks = n, rest->head_size = (uint32_t)head;
    return plan;
}

/* The same for registers that hold a part as a whole. */
static void glance_at(const table_t *t, plan_t *plan, const drawn_t *d) {
    if (t->glances)
        glance_declare(glance_of(plan), t->present_size, &t->framing, &t->crc, plan, d->moves.buf,
                       (size_t)d->moves.len / sizeof(move_t), d->constant.buf);
}
