/* Rows to frames. Included by kernel.c. */

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
    {"by_ends", table_by_ends, METH_NOARGS, NULL},
    {"room", table_room, METH_O, NULL},
    {"walk", (PyCFunction)(void (*)(void))table_walk, METH_FASTCALL, NULL},
    {"walk_buffer", (PyCFunction)(void (*)(void))table_walk_buffer, METH_FASTCALL, NULL},
    {"hops", (PyCFunction)(void (*)(void))table_hops, METH_FASTCALL, NULL},
    {"build", (PyCFunction)(void (*)(void))table_build, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot table_slots[] = {
    {Py_tp_new, table_new}, {Py_tp_dealloc, table_dealloc}, {Py_tp_methods, table_methods},
    {Py_tp_doc, "Plans by their structural bytes."}, {0, NULL},
};

static PyType_Spec table_spec = {"protocols.hotpath._kernel.Table", sizeof(TableObject), 0, Py_TPFLAGS_DEFAULT, table_slots};
