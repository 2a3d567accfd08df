/* Frames to rows: a list or a buffer of them, those of one layout side by side. Included by kernel.c. */

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

enum { SLOTS = 256, CROWD = 128, WINDOW = 1024 };
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
    w->last = t->last;
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
    t->last = w->last;
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
