/* Frames to rows: a list or a buffer of them, those of one layout side by side. Included by kernel.c. */

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

/* The frames of this plan, side by side, as long as they are; or those at these places, in this order, which are of its size. How
 * many; 0 where the processor cannot. */
static size_t run(table_t *t, plan_t *plan, walk_t *w, const frames_t *f, size_t at, const uint8_t *const *place,
                  const uint16_t *order, size_t n) {
#if SIMD
    if (level == VAST)
        return run_vast(t, plan, w, f, at, place, order, n);
    if (level == WIDE)
        return run_wide(t, plan, w, f, at, place, order, n);
#endif
    return 0;
}

/* Frames in order, or in this one, whatever they are of; 0 with an error. */
static int each(table_t *t, walk_t *w, const frames_t *f, size_t at, const uint16_t *order, size_t n, plan_t **last) {
    for (size_t done = 0; done < n;) {
        size_t size = 128;
        tile_t tile;                                           /* not made zeros: that takes as long as a frame */
        for (tile.n = 0; tile.n < TILE && done < n; done++) {
            const size_t i = at + (order ? order[done] : done);
            fetch_ahead(f, i, size);
            if (!is_frame(f, i))
                return 0;
            const uint8_t *p = frame_at(f, i, &size);
            put(t, w, &tile, i, p, size);
        }
        walk_tile(t, w, &tile, last);
    }
    return 1;
}

/* The next frames in order: those of the last layout, and some more. How many, 0 with an error. */
static size_t in_order(table_t *t, walk_t *w, const frames_t *f, size_t at) {
    const size_t run_of = w->last && f->n - at >= FEW ? run(t, w->last, w, f, at, NULL, NULL, f->n - at) : 0;
    const size_t left = f->n - at - run_of, n = left < TILE ? left : TILE;
    return each(t, w, f, at + run_of, NULL, n, &w->last) ? run_of + n : 0;
}

#include "crowd.h"
#include "whole.h"

/* The next frames of several parts each, where they are of many layouts: how many; 0 where the next one is to be walked by itself. */
static size_t parts_apart(table_t *t, walk_t *w, const frames_t *f, size_t at) {
#if SIMD
    if (level == VAST && t->row_size >= 32)
        return parts_apart_vast(t, w, f, at);
    if (level == WIDE && t->row_size >= 32)
        return parts_apart_wide(t, w, f, at);
#endif
    return 0;
}

/* The next frames of several parts, worked on side by side: how many; 0 where the next one is to be walked by itself. */
static size_t parts_together(table_t *t, walk_t *w, const frames_t *f, size_t at) {
#if SIMD
    if (broad && t->glances)
        return parts_in_sight(t, w, f, at);
#endif
    return t->mixed ? parts_apart(t, w, f, at) : 0;
}

static int walk_of_parts(table_t *t, walk_t *w, const frames_t *f) {
    size_t size = 128;
    for (size_t i = 0, n; i < f->n; i += n) {
        if (!t->patience && (n = parts_together(t, w, f, i)))
            continue;
        n = 1, t->patience -= t->patience > 0;
        if (w->starts)
            w->starts[i] = (uint32_t)w->written;
        fetch_long(f, i, size);
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

/* The next frames that are one part each: how many; 0 with an error. */
static size_t next_frames(table_t *t, walk_t *w, const frames_t *f, size_t at) {
#if SIMD
    if (broad && t->glances && w->sorts && !t->patience && f->n - at >= FEW)
        return in_sight(t, w, f, at);
#endif
    const size_t n = w->sorts && t->mixed && f->n - at >= 2 * TILE ? by_layout(t, w, f, at) : in_order(t, w, f, at);
    t->patience -= t->patience < n ? t->patience : (uint32_t)n;
    return n;
}

/* All frames; 0 with an error at one of a list that is no bytes. */
static int walk_frames(table_t *t, walk_t *w, const frames_t *f) {
    w->last = t->last;
    if (t->framing.parts && !walk_of_parts(t, w, f))
        return 0;
    for (size_t at = 0, n; !t->framing.parts && at < f->n; at += n)
        if (!(n = next_frames(t, w, f, at)))
            return 0;
    for (size_t i = 0; i < f->n && !t->framing.parts && w->starts; i++)
        w->starts[i] = (uint32_t)w->written, w->written += w->status[i] == VOUCHED;
    t->last = w->last;
    return 1;
}

static int outputs(table_t *t, buffers_t *b, PyObject *const *args, Py_ssize_t n, walk_t *w) {
    memset(w, 0, sizeof *w);
    w->sorts = can_sort(t, (size_t)n);
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

/* hops(buffer, at, offsets): where frames that stand back to back from `at` on begin and end, by their length fields alone: how many
 * are whole, at most one fewer than there is room for offsets. */
static PyObject *table_hops(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    const framing_t *f = &TABLE(self)->framing;
    buffers_t b = {.n = 0};
    if (!wants(nargs, 3))
        return NULL;
    const size_t begin = PyLong_AsSize_t(args[1]);
    if (begin == (size_t)-1 && PyErr_Occurred())
        return NULL;
    const uint8_t *data = taken(&b, args[0], 0, 0);
    const size_t size = data ? (size_t)last_size(&b) : 0;
    uint32_t *offsets = data ? taken(&b, args[2], 1, 4) : NULL;
    const size_t room = offsets ? (size_t)last_size(&b) / 4 - 1 : 0;
    if (!offsets || begin > size || size > UINT32_MAX) {
        if (offsets)
            PyErr_SetString(PyExc_ValueError, "a place behind the buffer, or a buffer of 4 GiB and more");
        return release(&b), NULL;
    }
    size_t n = 0, least = (size_t)(f->length_at + f->length_width);
    least = least < (size_t)f->least ? (size_t)f->least : least;
    offsets[0] = (uint32_t)begin;
    for (size_t at = begin; f->length_width && n < room && size - at >= least; offsets[++n] = (uint32_t)at) {
        const uint64_t whole = number_at(data + at + f->length_at, f->length_width, f->length_big) + (uint64_t)f->length_add;
        if (whole < least || whole > size - at)
            break;
        at += whole;
    }
    release(&b);
    return PyLong_FromSize_t(n);
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
