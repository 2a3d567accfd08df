/* The hot path in C: frames to rows, rows to values, values to changes, changes to text; and rows to frames.
 *
 * Knows no protocol: plans and framing come from Python, which read them off the construct declarations. Every argument is a list
 * of bytes or a contiguous buffer; sizes are checked before anything is read. Calls that take only buffers release the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lanes.h"
#include "plans.h"

static enum { PORTABLE, FAST, WIDE, VAST } level;                      /* what the processor has */

/* Buffers ---------------------------------------------------------------------------------------------------------------- */

typedef struct { Py_buffer of[10]; int n; } buffers_t;

static void release(buffers_t *b) {
    while (b->n)
        PyBuffer_Release(&b->of[--b->n]);
}

/* The bytes of `o`, at least `least` of them; NULL with an error otherwise. None gives NULL without one. */
static void *taken(buffers_t *b, PyObject *o, int writable, Py_ssize_t least) {
    if (PyObject_GetBuffer(o, &b->of[b->n], writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return NULL;
    Py_buffer *taken = &b->of[b->n++];
    if (taken->len < least) {
        PyErr_SetString(PyExc_ValueError, "a buffer is too small");
        return NULL;
    }
    return taken->buf ? taken->buf : (void *)"";
}

static Py_ssize_t last_size(const buffers_t *b) {
    return b->of[b->n - 1].len;
}

static int wants(Py_ssize_t n, Py_ssize_t wanted) {
    if (n == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", wanted, n);
    return 0;
}

static int is_list(PyObject *list) {
    if (!PyList_CheckExact(list))
        PyErr_SetString(PyExc_TypeError, "a list of bytes");
    return PyList_CheckExact(list);
}

static int all_bytes(PyObject *list) {
    if (!is_list(list))
        return 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
        if (!PyBytes_Check(PyList_GET_ITEM(list, i))) {
            PyErr_SetString(PyExc_TypeError, "a list of bytes");
            return 0;
        }
    return 1;
}

/* Plans ------------------------------------------------------------------------------------------------------------------ */

typedef struct { PyObject_HEAD table_t *table; } TableObject;

#define TABLE(self) (((TableObject *)(self))->table)

static void table_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    table_t *t = TABLE(self);
    if (t) {
        for (uint32_t i = 0; t->plan && i < t->capacity; i++)
            free(t->plan[i]);
        for (uint32_t i = 0; i < BUCKETS; i++)
            for (family_t *f = t->families[i], *next; f; f = next)
                next = f->next, free(f);
        free(t->plan), free(t);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static int sensible(const table_t *t) {
    const framing_t *f = &t->framing;
    int64_t least = f->least;
    if (least < 16 || f->length_at + 8 > least || f->length_width > 8 || f->context_at + 8 > least)
        return 0;
    if (f->sum_kind != SUM_NONE && (f->sum_from + f->sum_trail > least || f->sum_at > 8 || f->sum_width < 1 || f->sum_width > f->sum_at))
        return 0;
    if (f->sum_kind == SUM_CRC && (f->crc_width < 1 || f->crc_width > 32))
        return 0;
    if (f->parts && (f->count_at >= least || f->again_at < 1 || f->again_at > least || f->parts_from + f->parts_trail > least))
        return 0;
    if (f->tag_size > 32 || f->tag_size + f->tag_trail > least)
        return 0;
    for (uint32_t i = 0; i < t->guards; i++)
        if (t->guard[i].at < 0 || t->guard[i].at + 8 > t->row_size || t->guard[i].at + t->guard[i].width > t->row_size ||
            t->guard[i].width < 1 || (t->guard[i].kind == GUARD_RANGE && t->guard[i].width > 8))
            return 0;
    for (uint32_t i = 0; i < t->windows; i++)
        if (t->window[i].at < 0)
            return 0;
    const int64_t *each = (const int64_t *)f;
    for (size_t i = 2; i < sizeof *f / 8; i++) /* behind the two sync words */
        if (each + i != &f->length_add && each + i != &f->context_mask && each[i] < 0)
            return 0;
    if (t->present_size % 8 || t->present_size > t->row_size)
        return 0;
    return t->row_size >= 16 && t->row_size % 16 == 0 && t->row_size <= 1 << 16 && t->capacity >= 1 && t->capacity <= 1 << 16;
}

/* Table(row_size, present_size, capacity, framing, windows, guards): the last three as packed 64-bit numbers. */
static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    Py_buffer framing, windows, guards;
    unsigned int row_size, present_size, capacity;
    if (!PyArg_ParseTuple(args, "IIIy*y*y*", &row_size, &present_size, &capacity, &framing, &windows, &guards))
        return NULL;
    TableObject *self = (TableObject *)type->tp_alloc(type, 0);
    table_t *t = self ? self->table = calloc(1, sizeof *t) : NULL;
    int right = t && framing.len == sizeof t->framing && windows.len <= (Py_ssize_t)sizeof t->window && guards.len <= (Py_ssize_t)sizeof t->guard;
    if (right) {
        memcpy(&t->framing, framing.buf, sizeof t->framing);
        t->row_size = row_size, t->present_size = present_size, t->capacity = capacity;
        t->length_mask = ~0ull >> (64 - 8 * t->framing.length_width) % 64, t->sum_mask = ~0ull >> (64 - 8 * t->framing.sum_width) % 64;
        t->windows = (uint32_t)((size_t)windows.len / sizeof(window_t)), t->guards = (uint32_t)((size_t)guards.len / sizeof(guard_t));
        memcpy(t->guard, guards.buf, (size_t)guards.len);
        memcpy(t->window, windows.buf, (size_t)windows.len);
        right = sensible(t) && (t->plan = calloc(capacity, sizeof *t->plan));
    }
    PyBuffer_Release(&framing), PyBuffer_Release(&windows), PyBuffer_Release(&guards);
    if (!right) {
        Py_XDECREF(self);
        PyErr_SetString(PyExc_ValueError, "a framing that no frame can have");
        return NULL;
    }
    const framing_t *f = &t->framing;
    if (f->sum_kind == SUM_CRC)
        crc_declare(&t->crc, (int)f->crc_width, (uint32_t)f->crc_poly, (uint32_t)f->crc_init, (int)f->crc_reflected, (uint32_t)f->crc_xorout);
    fold_declare(&t->fold, &t->crc);
    t->summed_by_four = f->sum_kind == SUM_CRC && f->least >= f->sum_from + f->sum_trail + 16;
    t->plain = !f->parts && !f->context_mask;
    for (uint32_t i = 0; i < t->windows; i++)
        t->plain = t->plain && t->window[i].context < 0 && t->window[i].at + 8 <= f->least;
    t->at.from = t->row_size, t->at.present = t->at.from + (t->row_size / 8 + 7) / 8 * 8;
    t->at.check = (t->at.present + t->present_size + 31 + 63) / 64 * 64; /* the bitmap can be read 32 bytes at a time */
    t->bounded = bounds(t);
    return (PyObject *)self;
}

static int idle(const table_t *t) {
    if (!t->busy)
        return 1;
    PyErr_SetString(PyExc_RuntimeError, "the table is in use by another thread");
    return 0;
}

static void unlink_hash(table_t *t, const plan_t *plan) {
    plan_t **link = &t->bucket[plan->hash % BUCKETS];
    while (*link != plan)
        link = &(*link)->next;
    *link = plan->next;
}

static void link_hash(table_t *t, plan_t *plan) {
    plan->hash = hash_of(plan->rest->family, plan->rest->part);
    plan->next = t->bucket[plan->hash % BUCKETS];
    t->bucket[plan->hash % BUCKETS] = plan;
}

static void forget(table_t *t, uint32_t id) {
    plan_t *plan = t->plan[id], **link;
    family_t *family = plan->rest->family;
    unlink_hash(t, plan);
    if (t->quick[family->key % QUICK].plan == plan)
        t->quick[family->key % QUICK].plan = NULL;
    for (link = &family->first; *link != plan; link = &(*link)->rest->sibling)
        ;
    *link = plan->rest->sibling;
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->plan[i] && t->plan[i]->then == plan)
            t->plan[i]->then = NULL;
    free(plan);
    t->plan[id] = NULL, t->n--;
    if (!family->first) {
        family_t **place = &t->families[family->key % BUCKETS];
        while (*place != family)
            place = &(*place)->next;
        *place = family->next;
        free(family);
    }
}

static PyObject *table_remove(PyObject *self, PyObject *arg) {
    table_t *t = TABLE(self);
    long id = PyLong_AsLong(arg);
    if (PyErr_Occurred() || !idle(t))
        return NULL;
    if (id < 0 || id >= (long)t->capacity || !t->plan[id]) {
        PyErr_SetString(PyExc_KeyError, "no such plan");
        return NULL;
    }
    forget(t, (uint32_t)id);
    Py_RETURN_NONE;
}

/* The family of plans with this key, found or made. */
static family_t *family_for(table_t *t, uint64_t key, uint32_t least) {
    family_t *f = t->families[key % BUCKETS];
    while (f && f->key != key)
        f = f->next;
    if (f || !(f = calloc(1, sizeof *f + 2 * (size_t)least)))
        return f;
    f->key = key, f->least = least, f->next = t->families[key % BUCKETS];
    f->common = memset(f + 1, 255, least), f->differing = f->common + least;
    return t->families[key % BUCKETS] = f;
}

/* One more of a family. It is looked at where its members differ in what is structure to all of them: if that is elsewhere
 * than before, all of them have other hashes. */
static void join(table_t *t, family_t *f, plan_t *plan) {
    const family_t before = *f;
    if (plan->size < f->least)
        f->least = plan->size;
    for (uint32_t i = 0; i < f->least; i++) {
        f->common[i] &= plan->rest->mask[i];
        f->differing[i] |= f->first && f->first->rest->part[i] != plan->rest->part[i] ? 255 : 0;
    }
    f->probes = 0;
    memset(f->probe, 0, sizeof f->probe);
    for (uint32_t at = 0; at < f->least && f->probes < PROBES; at += 8) {
        uint32_t from = at + 8 > f->least ? f->least - 8 : at;
        uint64_t mask = load64(f->common + from) & load64(f->differing + from);
        if (mask)
            f->probe[f->probes].at = from, f->probe[f->probes++].mask = mask;
    }
    if (f->probes != before.probes || memcmp(f->probe, before.probe, sizeof f->probe))
        for (plan_t *each = f->first; each; each = each->rest->sibling)
            unlink_hash(t, each), link_hash(t, each);
    t->quick[f->key % QUICK].plan = NULL;
    plan->rest->family = f, plan->rest->sibling = f->first, f->first = plan;
    if (!plan->rest->sibling)
        t->quick[f->key % QUICK].key = f->key, t->quick[f->key % QUICK].plan = plan;
    link_hash(t, plan);
}

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

/* A plan's extras put together: those of two blocks beside each other are one. `onto` counts them for each two blocks. */
static void pair_up(const table_t *t, plan_t *plan, uint8_t *onto) {
    const check_t *check = checks(t, plan);
    const extra_t *extra = extras(plan, check);
    duo_t *duo = (duo_t *)duos(plan, check);
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
        plan->duos = (uint16_t)(plan->duos + more(made[0], made[1]));
        onto[k] = (uint8_t)more(made[0], made[1]);
        int any = 0;
        for (uint32_t i = 0; i < 32; i++)
            any |= !(plan->order[at + i] & 128);
        onto[k] |= any ? 0 : NO_DATA;
    }
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
    const size_t size = (hot + sizeof(rest_t) + lays + head + 2 * part + blocks + 63) / 64 * 64;
    plan_t *plan = aligned_alloc(64, size);
    if (!plan)
        return NULL;
    memset(plan, 0, size);
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
    rest->lay = memcpy(rest + 1, d->lays.buf, lays);
    rest->lays = (uint32_t)(lays / sizeof(move_t));
    rest->part = memcpy((uint8_t *)rest->lay + lays, d->part.buf, part);
    rest->mask = memcpy(rest->part + part, d->mask.buf, part);
    rest->head = memcpy(rest->mask + part, d->head.buf, head);
    rest->onto = rest->head + head;
    if (blocks > 1)
        pair_up(t, plan, rest->onto);
    for (size_t i = 0; i < part; i++)
        rest->part[i] &= rest->mask[i];
    for (uint32_t i = 0; i < n; i++)
        memcpy(check[i].mask, rest->mask + at[i], CHECK), memcpy(check[i].value, rest->part + at[i], CHECK);
    plan->size = (uint16_t)part, plan->checks = (uint16_t)n, rest->checks = n, rest->head_size = (uint32_t)head;
    return plan;
}

static int keep(table_t *t, uint32_t id, uint64_t context, const drawn_t *d) {
    plan_t *plan = planned(t, d);
    family_t *family = plan ? family_for(t, key_of(t, d->part.buf, (size_t)d->part.len, context), plan->size) : NULL;
    if (!family) {
        free(plan);
        PyErr_NoMemory();
        return 0;
    }
    plan->context = context, plan->id = (uint16_t)id, plan->used = t->now;
    join(t, family, plan), level_out(t, plan);
    if (t->plan[id])
        forget(t, id);
    t->plan[id] = plan, t->n++;
    return 1;
}

/* Whether all that such a plan fits is framed: its part is, and what makes it so is structure. */
static int frames_of(const table_t *t, const drawn_t *d) {
    const framing_t *f = &t->framing;
    const uint8_t *mask = d->mask.buf;
    if (!framed(t, d->part.buf, (size_t)d->part.len) || (uint64_t)f->sync_mask & ~load64(mask))
        return 0;
    for (int64_t i = 0; i < f->length_width; i++)
        if (mask[f->length_at + i] != 255)
            return 0;
    return 1;
}

/* add(id, context, part, mask, moves, constant, lays, head): `mask` is 255 where a byte of `part` must be as it is. */
static PyObject *table_add(PyObject *self, PyObject *args) {
    table_t *t = TABLE(self);
    unsigned int id;
    unsigned long long context;
    drawn_t d;
    if (!PyArg_ParseTuple(args, "IKy*y*y*y*y*y*", &id, &context, &d.part, &d.mask, &d.moves, &d.constant, &d.lays, &d.head))
        return NULL;
    int right = id < t->capacity && d.part.len >= 16 && d.part.len <= PART_LIMIT && d.mask.len == d.part.len &&
                d.constant.len == (Py_ssize_t)t->row_size && d.head.len <= 64 && d.moves.len &&
                (t->framing.parts || frames_of(t, &d)) && right_moves(&d.moves, (size_t)d.part.len, t->row_size, 1) &&
                right_moves(&d.lays, t->row_size, (size_t)d.part.len, 0);
    if (!right)
        PyErr_SetString(PyExc_ValueError, "a plan that reaches out of its part or row");
    right = right && idle(t) && keep(t, id, context & (uint64_t)t->framing.context_mask, &d);
    PyBuffer_Release(&d.part), PyBuffer_Release(&d.mask), PyBuffer_Release(&d.moves);
    PyBuffer_Release(&d.constant), PyBuffer_Release(&d.lays), PyBuffer_Release(&d.head);
    if (!right)
        return NULL;
    Py_RETURN_NONE;
}

/* When each plan was used last, as a count of calls; -1 where there is none. */
static PyObject *table_used(PyObject *self, PyObject *none) {
    table_t *t = TABLE(self);
    PyObject *list = PyList_New(t->capacity);
    for (uint32_t i = 0; list && i < t->capacity; i++)
        PyList_SET_ITEM(list, i, PyLong_FromLongLong(t->plan[i] ? (long long)t->plan[i]->used : -1));
    return list;
}

/* Frames to rows ---------------------------------------------------------------------------------------------------------- */

typedef struct { uint8_t *rows, *status; int32_t *ids; uint32_t *starts; size_t room, written, troubled; plan_t *last; } walk_t;

static int parts_of(table_t *t, walk_t *w, const uint8_t *p, size_t n) {
    uint8_t *rows = w->rows + w->written * t->row_size;
    int32_t *ids = w->ids + w->written;
    const size_t left = w->room - w->written;
#if SIMD
    if (level == VAST)
        return walk_parts_vast(t, p, n, rows, ids, left, &w->last);
    if (level == WIDE)
        return walk_parts_wide(t, p, n, rows, ids, left, &w->last);
    if (level == FAST)
        return walk_parts_fast(t, p, n, rows, ids, left, &w->last);
#endif
    return walk_parts_portably(t, p, n, rows, ids, left, &w->last);
}

typedef struct { PyObject **list; const uint8_t *data; const uint32_t *offsets; size_t n; } frames_t; /* a list, or a buffer */

static inline const uint8_t *frame_at(const frames_t *f, size_t i, size_t *size) {
    if (f->list)
        return *size = (size_t)PyBytes_GET_SIZE(f->list[i]), (const uint8_t *)PyBytes_AS_STRING(f->list[i]);
    return *size = f->offsets[i + 1] - f->offsets[i], f->data + f->offsets[i];
}

/* Objects lie anywhere: they are fetched while others are worked on. `like`: the size of the frame before. */
static inline void fetch_ahead(const frames_t *f, size_t i, size_t like) {
    if (!f->list || i + TILE >= f->n)
        return;
    const char *each = (const char *)f->list[i + TILE];
    like += offsetof(PyBytesObject, ob_sval) + 48;             /* wherever its first cache line begins */
    fetch(each, 1);
    if (like > 64)
        fetch(each + 64, 1);
    if (like > 128)
        fetch(each + 128, 1);
    if (like > 192)
        fetch(each + 192, (like < 1024 ? like : 1024) - 192);
}

static inline int is_frame(const frames_t *f, size_t i) {
    if (!f->list || PyBytes_CheckExact(f->list[i]) || PyBytes_Check(f->list[i]))
        return 1;
    PyErr_SetString(PyExc_TypeError, "a list of bytes");
    return 0;
}

static inline void put(const table_t *t, const walk_t *w, tile_t *tile, size_t place, const uint8_t *p, size_t n) {
    tile->frame[tile->n] = p, tile->size[tile->n] = n;
    tile->place[tile->n] = (uint32_t)place, tile->row[tile->n++] = w->rows + place * t->row_size;
}

static void walk_tile(table_t *t, walk_t *w, tile_t *tile, plan_t **last) {
    uint32_t vouched;
#if SIMD
    if (level == VAST)
        vouched = walk_tile_vast(t, tile, w->status, w->ids, last);
    else if (level == WIDE)
        vouched = walk_tile_wide(t, tile, w->status, w->ids, last);
    else if (level == FAST)
        vouched = walk_tile_fast(t, tile, w->status, w->ids, last);
    else
#endif
        vouched = walk_tile_portably(t, tile, w->status, w->ids, last);
    w->troubled += tile->n - vouched, tile->n = 0;
}

/* The next frames in order, side by side; how many, 0 with an error. */
static size_t in_order(table_t *t, walk_t *w, const frames_t *f, size_t at) {
    const size_t n = f->n - at < TILE ? f->n - at : TILE;
    size_t size = 128;
    tile_t tile;                                               /* not made zeros: that takes as long as a frame */
    tile.n = 0;
    for (size_t i = at; i < at + n; i++) {
        fetch_ahead(f, i, size);
        if (!is_frame(f, i))
            return 0;
        const uint8_t *p = frame_at(f, i, &size);
        put(t, w, &tile, i, p, size);
    }
    walk_tile(t, w, &tile, &w->last);
    return n;
}

enum { SLOTS = 256, CROWD = 128, WINDOW = 2048 };
typedef struct { uint64_t key; const family_t *family; uint32_t group, n; } slot_t;
typedef struct { /* frames that wait until there are enough of one layout */
    slot_t slot[SLOTS + 1];                                    /* by their keys; the last one: of no layout, or of one too many */
    uint32_t slots, groups;
    uint16_t waiting[CROWD + 1][TILE];
} crowd_t;

/* Where this key stands, or is to stand. */
static inline slot_t *slot_of(crowd_t *c, uint64_t key) {
    slot_t *slot = &c->slot[key >> 8 & (SLOTS - 1)];
    while (slot->key != key && slot->key)
        slot = slot == &c->slot[SLOTS - 1] ? c->slot : slot + 1;
    return slot;
}

/* A new key, unless there are too many. `family`: its layouts are told from each other by another hash. */
static __attribute__((noinline)) slot_t *begin_slot(crowd_t *c, slot_t *slot, uint64_t key, const family_t *family, int known) {
    if (c->slots == SLOTS - 1 || c->groups == CROWD)
        return &c->slot[SLOTS];
    *slot = (slot_t){key, family, known && !family ? c->groups++ : CROWD, 0};
    c->slots++;
    return slot;
}

/* Those of a frame's layout that wait. What it is, is made sure of later. */
static inline slot_t *waiting_for(const table_t *t, crowd_t *c, const uint8_t *p, size_t n) {
    const uint64_t key = key_of(t, p, n, context_of(t, p));
    slot_t *slot = slot_of(c, key | 1);
    if (!slot->key) {
        const family_t *family = family_of(t, key);
        slot = begin_slot(c, slot, key | 1, family && family->first->rest->sibling ? family : NULL, family != NULL);
    }
    if (slot->family && slot->family->least <= n) {
        const uint64_t hash = hash_of(slot->family, p) | 1;
        slot = slot_of(c, hash);
        if (!slot->key)
            slot = begin_slot(c, slot, hash, NULL, 1);
    }
    return slot->group == CROWD ? &c->slot[SLOTS] : slot;
}

/* The frames that wait in a slot, side by side. */
static void let_go(table_t *t, walk_t *w, const frames_t *f, size_t at, crowd_t *c, slot_t *slot) {
    tile_t tile;                                               /* not made zeros: that takes as long as a frame */
    tile.n = 0;
    for (uint32_t k = 0; k < slot->n; k++) {
        size_t size, i = at + c->waiting[slot->group][k];
        const uint8_t *p = frame_at(f, i, &size);
        put(t, w, &tile, i, p, size);
    }
    const int run = slot->group < CROWD && tile.n >= FEW;
    plan_t *of = run ? likely(t, tile.frame[0], tile.size[0], context_of(t, tile.frame[0])) : NULL;
    slot->n = 0;
    walk_tile(t, w, &tile, &of);
}

static inline void await(table_t *t, walk_t *w, const frames_t *f, size_t at, crowd_t *c, slot_t *slot, size_t i) {
    c->waiting[slot->group][slot->n++] = (uint16_t)i;
    if (slot->n == TILE)
        let_go(t, w, f, at, c, slot);
}

/* The next frames where they are of many layouts: those of one are worked on side by side. How many; 0 with an error. */
static size_t by_layout(table_t *t, walk_t *w, const frames_t *f, size_t at) {
    const size_t all = f->n - at < WINDOW ? f->n - at : WINDOW;
    size_t size = 128;
    uint32_t changes = 0;
    crowd_t c;
    memset(&c, 0, offsetof(crowd_t, waiting));
    slot_t *before = NULL, *none = &c.slot[SLOTS];
    none->group = CROWD;
    for (size_t i = 0; i < all; i++) {
        fetch_ahead(f, at + i, size);
        if (!is_frame(f, at + i))
            return 0;
        const uint8_t *p = frame_at(f, at + i, &size);
        slot_t *slot = size < (size_t)t->framing.least ? none : waiting_for(t, &c, p, size);
        changes += slot != before, before = slot;
        await(t, w, f, at, &c, slot, i);
    }
    t->mixed = changes * 8 > all;
    for (slot_t *slot = c.slot; slot < none; slot++)
        if (slot->n >= FEW)
            let_go(t, w, f, at, &c, slot);
        else                                                   /* with others that are few, as they come */
            for (uint32_t k = 0; k < slot->n; k++)
                await(t, w, f, at, &c, none, c.waiting[slot->group][k]);
    let_go(t, w, f, at, &c, none);
    return all;
}

/* All frames, one by one where they are of several parts; 0 with an error at one of a list that is no bytes. */
static int walk_frames(table_t *t, walk_t *w, const frames_t *f) {
    for (size_t at = 0, n; !t->framing.parts && at < f->n; at += n)
        if (!(n = t->mixed && f->n - at >= 2 * TILE ? by_layout(t, w, f, at) : in_order(t, w, f, at)))
            return 0;
    size_t size = 128;
    for (size_t i = 0; i < f->n && (t->framing.parts || w->starts); i++) {
        if (w->starts)
            w->starts[i] = (uint32_t)w->written;
        if (!t->framing.parts) {
            w->written += w->status[i] == VOUCHED;
            continue;
        }
        fetch_ahead(f, i, size);
        if (!is_frame(f, i))
            return 0;
        const uint8_t *p = frame_at(f, i, &size);
        if ((w->status[i] = (uint8_t)parts_of(t, w, p, size)) == VOUCHED)
            w->written += p[t->framing.count_at];
        else
            w->troubled++;
    }
    return 1;
}

static int outputs(const table_t *t, buffers_t *b, PyObject *const *args, Py_ssize_t n, walk_t *w) {
    memset(w, 0, sizeof *w);
    if (!(w->rows = taken(b, args[0], 1, t->framing.parts ? 0 : n * (Py_ssize_t)t->row_size)))
        return 0;
    w->room = (size_t)last_size(b) / t->row_size;
    if (!(w->status = taken(b, args[1], 1, n)) || !(w->ids = taken(b, args[2], 1, (Py_ssize_t)w->room * 4)))
        return 0;
    if (args[3] != Py_None && !(w->starts = taken(b, args[3], 1, (n + 1) * 4)))
        return 0;
    return 1;
}

static int walk_list(table_t *t, walk_t *w, PyObject *list, Py_ssize_t n) {
    return walk_frames(t, w, &(frames_t){.list = ((PyListObject *)list)->ob_item, .n = (size_t)n});
}

/* walk(frames, rows, status, ids, starts or None): how many rows were written, how many frames are not vouched for. */
static PyObject *table_walk(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    table_t *t = TABLE(self);
    buffers_t b = {.n = 0};
    walk_t w;
    if (!wants(nargs, 5) || !is_list(args[0]))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(args[0]);
    if (!outputs(t, &b, args + 1, n, &w))
        return release(&b), NULL;
    t->now++;
    if (!walk_list(t, &w, args[0], n))
        return release(&b), NULL;
    if (w.starts)
        w.starts[n] = (uint32_t)w.written;
    release(&b);
    return Py_BuildValue("nn", t->framing.parts ? (Py_ssize_t)w.written : n, (Py_ssize_t)w.troubled);
}

/* walk_buffer(buffer, offsets, rows, status, ids, starts or None): the same for frames between n + 1 offsets of 32 bits. */
static PyObject *table_walk_buffer(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    table_t *t = TABLE(self);
    buffers_t b = {.n = 0};
    walk_t w;
    if (!wants(nargs, 6))
        return NULL;
    const uint8_t *data = taken(&b, args[0], 0, 0);
    Py_ssize_t size = data ? last_size(&b) : 0;
    const uint32_t *offsets = data ? taken(&b, args[1], 0, 4) : NULL;
    Py_ssize_t n = offsets ? last_size(&b) / 4 - 1 : 0;
    if (!offsets || !outputs(t, &b, args + 2, n, &w))
        return release(&b), NULL;
    for (Py_ssize_t i = 0; i < n; i++)
        if (offsets[i] > offsets[i + 1] || offsets[i + 1] > (size_t)size) {
            PyErr_SetString(PyExc_ValueError, "offsets that do not rise to the end of the buffer");
            return release(&b), NULL;
        }
    t->now++, t->busy++;
    Py_BEGIN_ALLOW_THREADS
    walk_frames(t, &w, &(frames_t){.data = data, .offsets = offsets, .n = (size_t)n});
    Py_END_ALLOW_THREADS
    t->busy--;
    if (w.starts)
        w.starts[n] = (uint32_t)w.written;
    release(&b);
    return Py_BuildValue("nn", t->framing.parts ? (Py_ssize_t)w.written : n, (Py_ssize_t)w.troubled);
}

/* room(frames): how many rows they may need at most. */
static PyObject *table_room(PyObject *self, PyObject *list) {
    table_t *t = TABLE(self);
    if (!all_bytes(list))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(list), room = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *frame = PyList_GET_ITEM(list, i);
        if (!t->framing.parts)
            room++;
        else if (PyBytes_GET_SIZE(frame) >= t->framing.least)
            room += (uint8_t)PyBytes_AS_STRING(frame)[t->framing.count_at];
    }
    return PyLong_FromSsize_t(room);
}

/* Rows to frames ---------------------------------------------------------------------------------------------------------- */

static uint32_t sum_now(const table_t *t, const uint8_t *p, size_t n) {
#if SIMD
    if (level)
        return level == VAST ? sum_of_vast(t, p, n) : sum_of_fast(t, p, n);
#endif
    return sum_portably(t, p, n);
}

static void finish(const table_t *t, uint8_t *p, size_t n, const schedule_t *key) {
    const framing_t *f = &t->framing;
    if (f->tag_size) {
        uint8_t tag[32] = {0};
        size_t covered = n - (size_t)f->tag_trail - (size_t)f->tag_size;
        if (key)
            hmac(key, p, covered, tag);
        memcpy(p + covered, tag, (size_t)f->tag_size);
    }
    if (f->sum_kind == SUM_NONE)
        return;
    size_t size = n - (size_t)f->sum_from - (size_t)f->sum_trail;
    uint32_t sum = sum_now(t, p + f->sum_from, size);
    put_number(p + n - f->sum_at, sum, f->sum_width, f->sum_big);
}

/* The bytes of the frame of `count` rows, or how many they would be if there is no `to`. 0: these rows are no frame. */
static size_t built(const table_t *t, const uint8_t *rows, const int32_t *ids, size_t count, const schedule_t *key, uint8_t *to) {
    const framing_t *f = &t->framing;
    size_t n = f->parts ? (size_t)f->parts_from : 0;
    const plan_t *first = NULL;
    if (!count || count > 255 || (!f->parts && count != 1))
        return 0;
    for (size_t i = 0; i < count; i++) {
        const plan_t *plan = ids[i] < 0 || (uint32_t)ids[i] >= t->capacity ? NULL : t->plan[ids[i]];
        if (!plan || !plan->rest->lays || (first && plan->context != first->context))
            return 0;
        first = first ? first : plan;
        if (to) {
#if SIMD
            if (level)
                lay_fast(plan, rows + i * t->row_size, to + n);
            else
#endif
                lay_portably(plan, rows + i * t->row_size, to + n);
        }
        n += plan->size;
    }
    if (f->parts) {
        n += (size_t)f->parts_trail;
        if (first->rest->head_size != (size_t)f->parts_from)
            return 0;
        if (to) {
            memcpy(to, first->rest->head, first->rest->head_size);
            memset(to + n - f->parts_trail, 0, (size_t)f->parts_trail);
            to[f->count_at] = to[n - f->again_at] = (uint8_t)count;
            put_number(to + f->length_at, (uint64_t)((int64_t)n - f->length_add), f->length_width, f->length_big);
        }
    }
    if (to)
        finish(t, to, n, key);
    return n;
}

/* build(rows, ids, starts or None, keys or None, which or None): a list of bytes, one for each frame. */
static PyObject *table_build(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    table_t *t = TABLE(self);
    buffers_t b = {.n = 0};
    if (!wants(nargs, 5))
        return NULL;
    const uint8_t *rows = taken(&b, args[0], 0, 0);
    size_t room = rows ? (size_t)last_size(&b) / t->row_size : 0, n = room, keys_n = 0;
    const int32_t *ids = rows ? taken(&b, args[1], 0, (Py_ssize_t)room * 4) : NULL, *which = NULL;
    const uint32_t *starts = NULL;
    const schedule_t *keys = NULL;
    if (!ids)
        return release(&b), NULL;
    if (args[2] != Py_None) {
        if (!(starts = taken(&b, args[2], 0, 4)))
            return release(&b), NULL;
        n = (size_t)last_size(&b) / 4 - 1;
    }
    if (args[3] != Py_None) {
        keys = taken(&b, args[3], 0, 0);
        keys_n = keys ? (size_t)last_size(&b) / sizeof *keys : 0;
        if (!keys || !(which = taken(&b, args[4], 0, (Py_ssize_t)n * 4)))
            return release(&b), NULL;
    }
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list && i < n; i++) {
        size_t from = starts ? starts[i] : i, to = starts ? starts[i + 1] : i + 1;
        const schedule_t *key = NULL;
        size_t size = 0;
        if (from <= to && to <= room && (!keys || (which[i] >= 0 && (size_t)which[i] < keys_n))) {
            key = keys ? keys + which[i] : NULL;
            size = built(t, rows + from * t->row_size, ids + from, to - from, key, NULL);
        }
        PyObject *frame = size ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size) : NULL;
        if (!frame) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_ValueError, "frame %zu cannot be built of its rows", i);
            Py_CLEAR(list);
            break;
        }
        built(t, rows + from * t->row_size, ids + from, to - from, key, (uint8_t *)PyBytes_AS_STRING(frame));
        PyList_SET_ITEM(list, (Py_ssize_t)i, frame);
    }
    release(&b);
    return list;
}

static PyMethodDef table_methods[] = {
    {"add", table_add, METH_VARARGS, NULL},
    {"remove", table_remove, METH_O, NULL},
    {"used", table_used, METH_NOARGS, NULL},
    {"room", table_room, METH_O, NULL},
    {"walk", (PyCFunction)(void (*)(void))table_walk, METH_FASTCALL, NULL},
    {"walk_buffer", (PyCFunction)(void (*)(void))table_walk_buffer, METH_FASTCALL, NULL},
    {"build", (PyCFunction)(void (*)(void))table_build, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot table_slots[] = {
    {Py_tp_new, table_new}, {Py_tp_dealloc, table_dealloc}, {Py_tp_methods, table_methods},
    {Py_tp_doc, "Plans by their structural bytes."}, {0, NULL},
};

static PyType_Spec table_spec = {"protocols.hotpath._kernel.Table", sizeof(TableObject), 0, Py_TPFLAGS_DEFAULT, table_slots};

/* Seals -------------------------------------------------------------------------------------------------------------------- */

/* use_transform(address): OpenSSL's SHA256_Transform; whether the digest of "abc" comes out right with it. */
static PyObject *use_transform(PyObject *module, PyObject *address) {
    static const uint32_t abc[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    void *pointer = PyLong_AsVoidPtr(address);
    if (PyErr_Occurred())
        return NULL;
    sha256_t room[2];                                          /* twice the size: a context of another layout breaks nothing */
    uint8_t block[64] = "abc\x80";
    block[63] = 24;
    memset(room, 0, sizeof room);
    memcpy(room[0].h, SHA256_BEGINNING, 32);
    if (pointer)
        ((transform_t)pointer)(room, block);
    int right = pointer && !memcmp(room[0].h, abc, 32);
    transform = right ? (transform_t)pointer : NULL;
#if SIMD
    __builtin_cpu_init();
    twos = right && has_sha() && twos_are_right(), by_twos = twos && level;
#endif
    return PyBool_FromLong(right);
}

static int can_seal(void) {
    if (!transform)
        PyErr_SetString(PyExc_RuntimeError, "no SHA-256 was given");
    return transform != NULL;
}

static PyObject *key_schedule(PyObject *module, PyObject *key) {
    schedule_t s;
    if (!PyBytes_Check(key) || PyBytes_GET_SIZE(key) > 64) {
        PyErr_SetString(PyExc_ValueError, "a key of at most 64 bytes");
        return NULL;
    }
    if (!can_seal())
        return NULL;
    schedule(&s, (const uint8_t *)PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key));
    return PyBytes_FromStringAndSize((const char *)&s, sizeof s);
}

static inline void check_seal(claims_t *c, const schedule_t *keys, size_t keys_n, int32_t which, const uint8_t *p, size_t n, size_t trail,
                              uint8_t *holds) {
    if (*holds || which < 0 || (size_t)which >= keys_n || n < c->tag_size + trail)
        return;
    const size_t covered = n - c->tag_size - trail;
    claimed(c, (claim_t){keys + which, p, covered, p + covered, holds});
}

/* check_seals(frames, keys, which, tag size, bytes behind the tag, holds): sets `holds` where it is 0 and the seal holds. */
static PyObject *check_seals(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 6) || !can_seal() || !all_bytes(args[0]))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(args[0]);
    size_t size = PyLong_AsSize_t(args[3]), trail = PyLong_AsSize_t(args[4]);
    const schedule_t *keys = taken(&b, args[1], 0, 0);
    size_t keys_n = keys ? (size_t)last_size(&b) / sizeof *keys : 0;
    const int32_t *which = keys ? taken(&b, args[2], 0, n * 4) : NULL;
    uint8_t *holds = which ? taken(&b, args[5], 1, n) : NULL;
    if (!holds || size > 32 || trail > 1024)
        return release(&b), PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "no such tag");
    claims_t claims = {.tag_size = size, .says = 1};
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *frame = PyList_GET_ITEM(args[0], i);
        check_seal(&claims, keys, keys_n, which[i], (const uint8_t *)PyBytes_AS_STRING(frame), (size_t)PyBytes_GET_SIZE(frame), trail, holds + i);
    }
    settle(&claims);
    release(&b);
    Py_RETURN_NONE;
}

/* check_seals_buffer(buffer, offsets, keys, which, tag size, bytes behind the tag, holds): the same, without the GIL. */
static PyObject *check_seals_buffer(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 7) || !can_seal())
        return NULL;
    size_t size = PyLong_AsSize_t(args[4]), trail = PyLong_AsSize_t(args[5]);
    const uint8_t *data = taken(&b, args[0], 0, 0);
    size_t total = data ? (size_t)last_size(&b) : 0;
    const uint32_t *offsets = data ? taken(&b, args[1], 0, 4) : NULL;
    Py_ssize_t n = offsets ? last_size(&b) / 4 - 1 : 0;
    const schedule_t *keys = offsets ? taken(&b, args[2], 0, 0) : NULL;
    size_t keys_n = keys ? (size_t)last_size(&b) / sizeof *keys : 0;
    const int32_t *which = keys ? taken(&b, args[3], 0, n * 4) : NULL;
    uint8_t *holds = which ? taken(&b, args[6], 1, n) : NULL;
    if (!holds || size > 32 || trail > 1024)
        return release(&b), PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "no such tag");
    Py_BEGIN_ALLOW_THREADS
    claims_t claims = {.tag_size = size, .says = 1};
    for (Py_ssize_t i = 0; i < n; i++)
        if (offsets[i] <= offsets[i + 1] && offsets[i + 1] <= total)
            check_seal(&claims, keys, keys_n, which[i], data + offsets[i], offsets[i + 1] - offsets[i], trail, holds + i);
    settle(&claims);
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

/* Frames of one row each and who is said to have sent them. */
typedef struct {
    PyObject *frames;
    const int32_t *speakers;
    const uint8_t *rows, *ids, *has;
    const schedule_t *schedules;
    uint8_t *status, *keys;
    size_t n, row_size, unit_at, unit_size, id_size, units, generations, tag_size, trail;
} senders_t;

/* Notes for each frame by which key of its speaker it is sealed, counted from 1; 0: by none. */
static void note_keys(const senders_t *s) {
    memset(s->keys, 0, s->n);
    for (size_t each = 0; each < s->generations; each++) {
        claims_t claims = {.tag_size = s->tag_size, .says = (uint8_t)(each + 1)};
        for (size_t i = 0; i < s->n; i++) {
            const size_t key = (size_t)s->speakers[i] * s->generations + each;
            if (s->speakers[i] < 0 || (size_t)s->speakers[i] >= s->units || !s->has[key])
                continue;
            PyObject *frame = PyList_GET_ITEM(s->frames, (Py_ssize_t)i);
            check_seal(&claims, s->schedules, s->units * s->generations, (int32_t)key, (const uint8_t *)PyBytes_AS_STRING(frame),
                       (size_t)PyBytes_GET_SIZE(frame), s->trail, s->keys + i);
        }
        settle(&claims);
    }
}

/* Marks what is not its speaker's own; how many frames are not vouched for then. */
static size_t distrusted(const senders_t *s) {
    size_t troubled = 0;
    for (size_t i = 0; i < s->n; i++) {
        const int32_t who = s->speakers[i];
        int right = !s->keys || s->keys[i];
        if (s->unit_size)
            right = right && who >= 0 && (size_t)who < s->units &&
                    !memcmp(s->rows + i * s->row_size + s->unit_at, s->ids + (size_t)who * s->id_size, s->unit_size);
        if (s->status[i] == VOUCHED && !right)
            s->status[i] = DISTRUSTED;
        troubled += s->status[i] != VOUCHED;
    }
    return troubled;
}

/* distrust(frames, speakers, rows, row size, status, unit at, unit size, ids, id size, schedules, has, tag size, trail, keys out or
 * None): how many frames are not vouched for, or not their speaker's own, which is marked in `status`. */
static PyObject *distrust(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 14) || !all_bytes(args[0]) || (args[13] != Py_None && !can_seal()))
        return NULL;
    senders_t s = {.frames = args[0], .n = (size_t)PyList_GET_SIZE(args[0]), .row_size = PyLong_AsSize_t(args[3])};
    s.unit_at = PyLong_AsSize_t(args[5]), s.unit_size = PyLong_AsSize_t(args[6]), s.id_size = PyLong_AsSize_t(args[8]);
    s.tag_size = PyLong_AsSize_t(args[11]), s.trail = PyLong_AsSize_t(args[12]);
    if (PyErr_Occurred())
        return NULL;
    if (s.row_size < 1 || s.row_size > 1 << 16 || s.unit_at > s.row_size || s.unit_size > s.row_size - s.unit_at || s.id_size < 1 ||
        s.id_size > 256 || s.unit_size > s.id_size || s.tag_size > 32 || s.trail > 1024)
        return PyErr_Format(PyExc_ValueError, "a unit's id or a tag that the frames do not have");
    const Py_ssize_t n = (Py_ssize_t)s.n;
    int right = (s.speakers = taken(&b, args[1], 0, n * 4)) && (s.rows = taken(&b, args[2], 0, n * (Py_ssize_t)s.row_size)) &&
                (s.status = taken(&b, args[4], 1, n)) && (s.ids = taken(&b, args[7], 0, 0));
    s.units = right ? (size_t)last_size(&b) / s.id_size : 0;
    right = right && (s.schedules = taken(&b, args[9], 0, 0));
    s.generations = right && s.units ? (size_t)last_size(&b) / sizeof *s.schedules / s.units : 0;
    right = right && (s.has = taken(&b, args[10], 0, (Py_ssize_t)(s.units * s.generations)));
    right = right && (args[13] == Py_None || (s.keys = taken(&b, args[13], 1, n)));
    if (right && s.keys)
        note_keys(&s);
    const size_t troubled = right ? distrusted(&s) : 0;
    release(&b);
    return right ? PyLong_FromSize_t(troubled) : NULL;
}

/* Rows to values, changes and text ------------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    rules_t t;
    size_t row_size;
    Py_buffer of[5];                                           /* what the rules point into, held as long as they are */
    int held;
} RulesObject;

static void rules_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    RulesObject *r = (RulesObject *)self;
    while (r->held)
        PyBuffer_Release(&r->of[--r->held]);
    type->tp_free(self);
    Py_DECREF(type);
}

static int fitting(const rules_t *t, size_t row_size, size_t rules_n, size_t codes_n, size_t steps_n) {
    for (uint32_t i = 0; i < t->models; i++)
        if (t->starts[i] > t->starts[i + 1] || t->starts[i + 1] > rules_n)
            return 0;
    for (size_t i = 0; i < rules_n; i++) {
        const rule_t *r = &t->rules[i];
        if (r->lane >= t->lanes || r->at + 8ull > row_size || r->bit / 8 >= row_size || r->width < 1 || r->width > 8 || r->shift > 63 ||
            r->raw_shift > 63 || r->sign_bits > 62 || (r->kind == LOOK_UP && r->table >= codes_n) || (r->kind == COUNT && r->table >= steps_n))
            return 0;
    }
    for (uint32_t i = 0; i < t->pairs_n; i++)
        if (t->pairs[i] >= t->lanes)
            return 0;
    return 1;
}

/* Rules(row size, values, rules, starts, codes, steps, steps width, pairs): checked once, here. */
static PyObject *rules_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    RulesObject *self = (RulesObject *)type->tp_alloc(type, 0);
    PyObject *of[5];
    unsigned int lanes, width;
    Py_ssize_t row_size;
    if (!self || !PyArg_ParseTuple(args, "nIOOOOIO", &row_size, &lanes, &of[0], &of[1], &of[2], &of[3], &width, &of[4]))
        goto refused;
    for (; self->held < 5; self->held++)
        if (PyObject_GetBuffer(of[self->held], &self->of[self->held], PyBUF_SIMPLE) < 0)
            goto refused;
    const Py_buffer *v = self->of;
    self->row_size = (size_t)row_size;
    self->t = (rules_t){v[0].buf, v[1].buf, v[2].buf, v[3].buf, width, lanes, (uint32_t)(v[1].len / 4) - 1, v[4].buf, (uint32_t)(v[4].len / 4) & ~1u};
    if (row_size >= 16 && lanes >= 1 && lanes <= 64 && width >= 1 && v[1].len >= 4 &&
        fitting(&self->t, self->row_size, (size_t)v[0].len / sizeof(rule_t), (size_t)v[2].len / 512, (size_t)v[3].len / 8 / width))
        return (PyObject *)self;
    PyErr_SetString(PyExc_ValueError, "rules that do not fit the rows");
refused:
    Py_XDECREF(self);
    return NULL;
}

/* translate(rows, models, values out): values are models' lanes. */
static PyObject *rules_translate(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    const rules_t *t = &((RulesObject *)self)->t;
    size_t row_size = ((RulesObject *)self)->row_size;
    if (!wants(nargs, 3))
        return NULL;
    const int32_t *models = taken(&b, args[1], 0, 0);
    Py_ssize_t n = models ? last_size(&b) / 4 : 0;
    const uint8_t *rows = models ? taken(&b, args[0], 0, n * (Py_ssize_t)row_size) : NULL;
    int32_t *values = rows ? taken(&b, args[2], 1, n * (Py_ssize_t)t->lanes * 4) : NULL;
    if (!values)
        return release(&b), NULL;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n; i++) {
        int32_t *lanes = values + (size_t)i * t->lanes;
        if (models[i] >= 0 && (uint32_t)models[i] < t->models)
            translated(t, (uint32_t)models[i], rows + (size_t)i * row_size, lanes);
        else
            for (uint32_t k = 0; k < t->lanes; k++)
                lanes[k] = SILENT;
    }
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

static PyMethodDef rules_methods[] = {
    {"translate", (PyCFunction)(void (*)(void))rules_translate, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot rules_slots[] = {
    {Py_tp_new, rules_new}, {Py_tp_dealloc, rules_dealloc}, {Py_tp_methods, rules_methods},
    {Py_tp_doc, "The rules of some models."}, {0, NULL},
};

static PyType_Spec rules_spec = {"protocols.hotpath._kernel.Rules", sizeof(RulesObject), 0, Py_TPFLAGS_DEFAULT, rules_slots};

/* Where rows have the moment of their capture: a lane times `factor`, and further milliseconds of 16 bits where `further` is not -1. */
typedef struct { Py_ssize_t at, further; uint64_t mask; int64_t factor; } report_clock_t;

static int right_clock(Py_ssize_t at, Py_ssize_t width, Py_ssize_t further, size_t row_size) {
    return at >= 0 && (size_t)at + 8 <= row_size && further >= -1 && further + 8 <= (Py_ssize_t)row_size && width >= 1 && width <= 8;
}

static inline int64_t time_of(const report_clock_t *c, const uint8_t *row) {
    return (int64_t)(load64(row + c->at) & c->mask) * c->factor + (c->further < 0 ? 0 : (int64_t)(load64(row + c->further) & 0xFFFF));
}

/* times(rows, row size, lane at, its width, lane of further milliseconds at or -1, factor, times out): lane * factor + further. */
static PyObject *times(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 7))
        return NULL;
    Py_ssize_t row_size = PyLong_AsSsize_t(args[1]), at = PyLong_AsSsize_t(args[2]), width = PyLong_AsSsize_t(args[3]);
    Py_ssize_t further = PyLong_AsSsize_t(args[4]);
    int64_t factor = PyLong_AsLongLong(args[5]), *out = PyErr_Occurred() ? NULL : taken(&b, args[6], 1, 0);
    Py_ssize_t n = out ? last_size(&b) / 8 : 0;
    const uint8_t *rows = out && row_size > 0 && row_size < 1 << 20 ? taken(&b, args[0], 0, n * row_size) : NULL;
    if (!rows || !right_clock(at, width, further, (size_t)row_size))
        return release(&b), PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "lanes that the rows do not have");
    report_clock_t clock = {at, further, ~0ull >> (64 - 8 * width), factor};
    for (Py_ssize_t i = 0; i < n; i++, rows += row_size)
        out[i] = time_of(&clock, rows);
    release(&b);
    Py_RETURN_NONE;
}

static inline uint64_t changed_lanes(const int32_t *lanes, int32_t *shadow, uint32_t n) {
#if SIMD
    if (level >= WIDE)
        return differing_avx2(lanes, shadow, n);
#endif
    return differing(lanes, shadow, n);
}

/* diff(values, vehicles, shadow, moves or None, changed out): `moves` is 0 where a row may not move its vehicle's state. */
static PyObject *diff(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 5))
        return NULL;
    const int32_t *vehicles = taken(&b, args[1], 0, 0);
    Py_ssize_t n = vehicles ? last_size(&b) / 4 : 0;
    const int32_t *values = vehicles ? taken(&b, args[0], 0, 0) : NULL;
    size_t lanes = values && n ? (size_t)last_size(&b) / 4 / (size_t)n : 1;
    int32_t *shadow = values ? taken(&b, args[2], 1, 0) : NULL;
    size_t known = shadow && lanes ? (size_t)last_size(&b) / 4 / lanes : 0;
    const uint8_t *moves = NULL;
    if (!shadow || (args[3] != Py_None && !(moves = taken(&b, args[3], 0, n))))
        return release(&b), NULL;
    uint64_t *changed = taken(&b, args[4], 1, n * 8);
    if (!changed || lanes > 64)
        return release(&b), PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "at most 64 lanes");
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n; i++) {
#if defined(__GNUC__)
        if (i + 8 < n && vehicles[i + 8] >= 0 && (size_t)vehicles[i + 8] < known) {
            const char *ahead = (const char *)(shadow + (size_t)vehicles[i + 8] * lanes);
            __builtin_prefetch(ahead, 1), __builtin_prefetch(ahead + 64, 1), __builtin_prefetch(ahead + 128, 1);
        }
#endif
        changed[i] = 0;
        if (vehicles[i] < 0 || (size_t)vehicles[i] >= known || (moves && !moves[i]))
            continue;
        int32_t *state = shadow + (size_t)vehicles[i] * lanes;
        const int32_t *row = values + (size_t)i * lanes;
        changed[i] = changed_lanes(row, state, (uint32_t)lanes);
    }
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

/* records(values, changed, vehicles, times, out): how many change records were written. */
static PyObject *records(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 5))
        return NULL;
    const uint64_t *changed = taken(&b, args[1], 0, 0);
    Py_ssize_t n = changed ? last_size(&b) / 8 : 0;
    const int32_t *values = changed ? taken(&b, args[0], 0, 0) : NULL;
    size_t lanes = values && n ? (size_t)last_size(&b) / 4 / (size_t)n : 0;
    const int32_t *vehicles = values ? taken(&b, args[2], 0, n * 4) : NULL;
    const int64_t *times = vehicles ? taken(&b, args[3], 0, n * 8) : NULL;
    change_t *out = times ? taken(&b, args[4], 1, 0) : NULL;
    if (!out)
        return release(&b), NULL;
    size_t room = (size_t)last_size(&b) / sizeof *out, at = 0;
    uint64_t outside = lanes >= 64 ? 0 : ~0ull << lanes;
    for (Py_ssize_t i = 0; i < n; i++)
        for (uint64_t left = changed[i] & ~outside; left; left &= left - 1) {
            uint32_t k = (uint32_t)__builtin_ctzll(left);
            if (at < room)
                out[at] = (change_t){times[i], (uint32_t)vehicles[i], k, values[(size_t)i * lanes + k], (uint32_t)i};
            at++;
        }
    release(&b);
    if (at > room)
        return PyErr_Format(PyExc_BufferError, "%zu records", at);
    return PyLong_FromSize_t(at);
}

/* text(values, changed, vehicles, times, models, sayings, words, decimals, names, name size, out): how many bytes were written.
 * One JSON object a line for each row with changes; `names` are the vehicles', as JSON strings filled up with zeros. */
static PyObject *text(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    buffers_t b = {.n = 0};
    if (!wants(nargs, 11))
        return NULL;
    size_t name_size = PyLong_AsSize_t(args[9]);
    const uint64_t *changed = taken(&b, args[1], 0, 0);
    Py_ssize_t n = changed ? last_size(&b) / 8 : 0;
    const int32_t *values = changed ? taken(&b, args[0], 0, 0) : NULL;
    size_t lanes = values && n ? (size_t)last_size(&b) / 4 / (size_t)n : 0;
    const int32_t *vehicles = values ? taken(&b, args[2], 0, n * 4) : NULL;
    const int64_t *times = vehicles ? taken(&b, args[3], 0, n * 8) : NULL;
    const int32_t *models = times ? taken(&b, args[4], 0, n * 4) : NULL;
    const saying_t *sayings = models ? taken(&b, args[5], 0, (Py_ssize_t)(lanes * sizeof *sayings)) : NULL;
    const word_t *words = sayings ? taken(&b, args[6], 0, 0) : NULL;
    size_t words_n = words ? (size_t)last_size(&b) / sizeof *words : 0;
    const uint8_t *decimals = words ? taken(&b, args[7], 0, 0) : NULL;
    size_t models_n = decimals && lanes ? (size_t)last_size(&b) / lanes : 0;
    int right = decimals != NULL && lanes <= 64 && name_size <= 256;
    for (size_t i = 0; i < words_n && right; i++)
        right = words[i].size <= NAME_SPACE;
    for (size_t i = 0; i < lanes && right; i++)
        right = sayings[i].before_size <= NAME_SPACE && sayings[i].names + (size_t)sayings[i].names_n <= words_n && sayings[i].along < lanes;
    for (size_t i = 0; i < models_n * lanes && right; i++)
        right = decimals[i] < 10;
    const char *names = right && b.n < 10 ? taken(&b, args[8], 0, 0) : NULL;
    size_t names_n = names && name_size ? (size_t)last_size(&b) / name_size : 0;
    char *out = names ? taken(&b, args[10], 1, 0) : NULL;
    if (!out)
        return release(&b), PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "sayings that do not fit the values");
    char *p = out, *end = out + last_size(&b), date[10];
    int64_t day = INT64_MIN;
    uint64_t outside = lanes >= 64 ? 0 : ~0ull << lanes;
    size_t line = 128 + name_size + lanes * (NAME_SPACE * 2 + 16);
    for (Py_ssize_t i = 0; i < n; i++) {
        uint64_t say = changed[i] & ~outside;
        if (!say || (uint32_t)vehicles[i] >= names_n || (uint32_t)models[i] >= models_n)
            continue;
        for (uint64_t left = say; left; left &= left - 1)
            say |= 1ull << sayings[__builtin_ctzll(left)].along;
        if ((size_t)(end - p) < line) {
            release(&b);
            return PyErr_Format(PyExc_BufferError, "the text is longer");
        }
        const char *name = names + (size_t)vehicles[i] * name_size;
        memcpy(p, "{\"vehicle_id\":", 14), p += 14;
        for (size_t k = 0; k < name_size && name[k]; k++)
            *p++ = name[k];
        memcpy(p, ",\"timestamp\":\"", 14), p = put_time(p + 14, times[i], &day, date);
        memcpy(p, "\",\"changed\":{", 13), p += 13;
        p = put_lanes(p, sayings, words, decimals + (size_t)models[i] * lanes, values + (size_t)i * lanes, say);
        memcpy(p, "}}\n", 3), p += 3;
    }
    Py_ssize_t written = p - out;
    release(&b);
    return PyLong_FromSsize_t(written);
}

#include "pipeline.h"
#include "tell.h"

/* Module -------------------------------------------------------------------------------------------------------------------- */

static PyObject *crc(PyObject *module, PyObject *args) { /* crc(data, width, poly, init, reflected, xorout) */
    Py_buffer data;
    int width, reflected;
    unsigned int poly, init, xorout;
    crc_t c;
    if (!PyArg_ParseTuple(args, "y*iIIiI", &data, &width, &poly, &init, &reflected, &xorout))
        return NULL;
    uint32_t sum = 0;
    int right = width >= 1 && width <= 32;
    if (right) {
        crc_declare(&c, width, poly, init, reflected, xorout);
        table_t *t = calloc(1, sizeof *t);
        if ((right = t != NULL)) {
            t->crc = c, t->framing.sum_kind = SUM_CRC;
            fold_declare(&t->fold, &c);
            sum = sum_now(t, data.buf, (size_t)data.len);
        }
        free(t);
    }
    PyBuffer_Release(&data);
    return right ? PyLong_FromUnsignedLong(sum) : PyErr_Format(PyExc_ValueError, "a width of 1 to 32");
}

/* dispatch(most): use what the processor has, at most this: 0 is the portable code, 1 all, 2 SSSE3, 3 AVX2; what is used then. */
static PyObject *dispatch(PyObject *module, PyObject *most) {
    static const char *const names[] = {"portable", "ssse3 pclmul", "avx2 pclmul", "avx2 vpclmulqdq"};
    long wanted = PyLong_AsLong(most);
    if (PyErr_Occurred())
        return NULL;
    level = PORTABLE;
#if SIMD
    __builtin_cpu_init();
    if (wanted && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1"))
        level = wanted == 2 || !__builtin_cpu_supports("avx2") ? FAST : wanted == 3 || !__builtin_cpu_supports("vpclmulqdq") ? WIDE : VAST;
    by_twos = twos && level;
#endif
    return PyUnicode_FromString(names[level]);
}

static PyMethodDef methods[] = {
    {"use_transform", use_transform, METH_O, NULL},
    {"key_schedule", key_schedule, METH_O, NULL},
    {"check_seals", (PyCFunction)(void (*)(void))check_seals, METH_FASTCALL, NULL},
    {"check_seals_buffer", (PyCFunction)(void (*)(void))check_seals_buffer, METH_FASTCALL, NULL},
    {"distrust", (PyCFunction)(void (*)(void))distrust, METH_FASTCALL, NULL},
    {"times", (PyCFunction)(void (*)(void))times, METH_FASTCALL, NULL},
    {"diff", (PyCFunction)(void (*)(void))diff, METH_FASTCALL, NULL},
    {"records", (PyCFunction)(void (*)(void))records, METH_FASTCALL, NULL},
    {"text", (PyCFunction)(void (*)(void))text, METH_FASTCALL, NULL},
    {"crc", crc, METH_VARARGS, NULL},
    {"dispatch", dispatch, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module) {
    PyObject *table = PyType_FromSpec(&table_spec), *rules = PyType_FromSpec(&rules_spec), *pipeline = PyType_FromSpec(&pipeline_spec);
    PyObject *teller = PyType_FromSpec(&teller_spec);
    PyObject *used = dispatch(NULL, Py_True);
    int right = table && rules && pipeline && teller && used && !PyModule_AddObjectRef(module, "Table", table) &&
                !PyModule_AddObjectRef(module, "Rules", rules) && !PyModule_AddObjectRef(module, "Pipeline", pipeline) &&
                !PyModule_AddObjectRef(module, "Teller", teller);
    Py_XDECREF(table), Py_XDECREF(rules), Py_XDECREF(pipeline), Py_XDECREF(teller), Py_XDECREF(used);
    return right ? 0 : -1;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernel", "Frames to rows to changes.", 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) {
    return PyModuleDef_Init(&definition);
}
