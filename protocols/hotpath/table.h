/* Plans that a table keeps: declared, added, forgotten. Included by kernel.c. */

typedef struct { PyObject_HEAD table_t *table; } TableObject;

#define TABLE(self) (((TableObject *)(self))->table)

static void drop(plan_t *plan) {
    if (plan)
        free(glance_of(plan));
}

static void table_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    table_t *t = TABLE(self);
    if (t) {
        for (uint32_t i = 0; t->plan && i < t->capacity; i++)
            drop(t->plan[i]);
        for (uint32_t i = 0; i < BUCKETS; i++)
            for (family_t *f = t->families[i], *next; f; f = next)
                next = f->next, free(f);
        if (t->sorts)
            free(t->sorts->ends);
        free(t->sorts), free(t->plan), free(t);
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
    t->glances = t->row_size >= 80 && t->row_size <= 256 && t->present_size <= 16 && glances_at(f, &t->crc);
    residues_declare(&t->residues, f, &t->crc);
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

static void unsorted(table_t *t) {
    if (t->sorts && t->sorts->ready)
        ends_used(t->sorts), t->sorts->ready = 0;
}

static void forget(table_t *t, uint32_t id) {
    plan_t *plan = t->plan[id], **link;
    family_t *family = plan->rest->family;
    unlink_hash(t, plan), unsorted(t);
    if (t->quick[family->key % QUICK].plan == plan)
        t->quick[family->key % QUICK].plan = NULL;
    if (t->last == plan)
        t->last = NULL;
    for (link = &family->first; *link != plan; link = &(*link)->rest->sibling)
        ;
    *link = plan->rest->sibling;
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->plan[i] && t->plan[i]->then == plan)
            t->plan[i]->then = NULL;
    drop(plan);
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

#include "draw.h"

static int keep(table_t *t, uint32_t id, uint64_t context, const drawn_t *d) {
    plan_t *plan = planned(t, d);
    family_t *family = plan ? family_for(t, key_of(t, d->part.buf, (size_t)d->part.len, context), plan->size) : NULL;
    if (!family) {
        drop(plan);
        PyErr_NoMemory();
        return 0;
    }
    plan->context = context, plan->id = (uint16_t)id, plan->used = t->now;
    join(t, family, plan), level_out(t, plan), glance_at(t, plan, d);
    if (t->plan[id])
        forget(t, id);
    t->plan[id] = plan, t->n++, unsorted(t);
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

static uint64_t last_used(const plan_t *plan) {
    const uint64_t used = glance_of(plan)->used;
    return used > plan->used ? used : plan->used;
}

/* How many frames were taken by their ends so far, layouts mingled: for tests, which would not see it if none were. */
static PyObject *table_by_ends(PyObject *self, PyObject *none) {
    return PyLong_FromUnsignedLongLong(TABLE(self)->by_ends);
}

/* When each plan was used last, as a count of calls; -1 where there is none. */
static PyObject *table_used(PyObject *self, PyObject *none) {
    table_t *t = TABLE(self);
    if (t->sorts && t->sorts->ready)
        ends_used(t->sorts);
    PyObject *list = PyList_New(t->capacity);
    for (uint32_t i = 0; list && i < t->capacity; i++)
        PyList_SET_ITEM(list, i, PyLong_FromLongLong(t->plan[i] ? (long long)last_used(t->plan[i]) : -1));
    return list;
}
