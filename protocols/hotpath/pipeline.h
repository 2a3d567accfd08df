/* All stages in one call: frames of one report each to change records, with every array at hand. Included by kernel.c. */

typedef struct {
    PyObject_HEAD
    TableObject *table;
    RulesObject *rules;
    Py_buffer shadow;
    int held;
    report_clock_t clock;
    uint8_t *rows, *status;                                    /* room for so many frames */
    int32_t *ids;
    size_t room;
} PipelineObject;

static void pipeline_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PipelineObject *p = (PipelineObject *)self;
    if (p->held)
        PyBuffer_Release(&p->shadow);
    free(p->rows), free(p->status), free(p->ids);
    Py_XDECREF(p->table), Py_XDECREF(p->rules);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Pipeline(table, rules, shadow, clock's lane at, its width, lane of further milliseconds at or -1, factor) */
static PyObject *pipeline_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PipelineObject *self = (PipelineObject *)type->tp_alloc(type, 0);
    PyObject *table, *rules, *shadow;
    Py_ssize_t at, width, further;
    long long factor;
    if (!self || !PyArg_ParseTuple(args, "OOOnnnL", &table, &rules, &shadow, &at, &width, &further, &factor))
        goto refused;
    if (Py_TYPE(table)->tp_dealloc != table_dealloc || Py_TYPE(rules)->tp_dealloc != rules_dealloc) {
        PyErr_SetString(PyExc_TypeError, "a Table and its Rules");
        goto refused;
    }
    self->table = (TableObject *)Py_NewRef(table), self->rules = (RulesObject *)Py_NewRef(rules);
    if (PyObject_GetBuffer(shadow, &self->shadow, PyBUF_WRITABLE) < 0)
        goto refused;
    self->held = 1;
    const table_t *t = self->table->table;
    if (!t->framing.parts && self->rules->row_size == t->row_size && right_clock(at, width, further, t->row_size)) {
        self->clock = (report_clock_t){at, further, ~0ull >> (64 - 8 * width), factor};
        return (PyObject *)self;
    }
    PyErr_SetString(PyExc_ValueError, "rules or a clock that do not fit the rows, or frames of several reports");
refused:
    Py_XDECREF(self);
    return NULL;
}

static int made_room(PipelineObject *p, size_t n) {
    if (n <= p->room)
        return 1;
    free(p->rows), free(p->status), free(p->ids);
    p->rows = malloc(n * p->table->table->row_size), p->status = malloc(n), p->ids = malloc(n * 4);
    p->room = p->rows && p->status && p->ids ? n : 0;
    if (!p->room)
        PyErr_NoMemory();
    return p->room != 0;
}

/* Rows to records: each row's values live no longer than it takes to say what of them is new. */
static size_t told(const PipelineObject *p, size_t n, const int32_t *vehicles, const int32_t *models, change_t *out) {
    const rules_t *rules = &p->rules->t;
    size_t row_size = p->rules->row_size, known = (size_t)p->shadow.len / 4 / rules->lanes, at = 0;
    int32_t lanes[64];
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = p->rows + i * row_size;
        if (vehicles[i] < 0 || (size_t)vehicles[i] >= known || models[i] < 0 || (uint32_t)models[i] >= rules->models)
            continue;
        translated(rules, (uint32_t)models[i], row, lanes);
        uint64_t left = changed_lanes(lanes, (int32_t *)p->shadow.buf + (size_t)vehicles[i] * rules->lanes, rules->lanes);
        int64_t when = time_of(&p->clock, row);
        for (; left; left &= left - 1) {
            uint32_t k = (uint32_t)__builtin_ctzll(left);
            out[at++] = (change_t){when, (uint32_t)vehicles[i], k, lanes[k], (uint32_t)i};
        }
    }
    return at;
}

/* changes(frames, vehicles, models, out): how many records were written; -1, and nothing has changed, if a frame is not vouched for.
 * Nothing of it frees a frame or runs Python code. */
static PyObject *pipeline_changes(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    PipelineObject *p = (PipelineObject *)self;
    table_t *t = p->table->table;
    buffers_t b = {.n = 0};
    if (!wants(nargs, 4) || !is_list(args[0]))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(args[0]);
    const int32_t *vehicles = taken(&b, args[1], 0, n * 4), *models = vehicles ? taken(&b, args[2], 0, n * 4) : NULL;
    change_t *out = models ? taken(&b, args[3], 1, n * (Py_ssize_t)(p->rules->t.lanes * sizeof *out)) : NULL;
    if (!out || !made_room(p, (size_t)n))
        return release(&b), NULL;
    walk_t w = {.rows = p->rows, .status = p->status, .ids = p->ids, .room = (size_t)n, .sorts = can_sort(t, (size_t)n)};
    t->now++;
    if (!walk_list(t, &w, args[0], n))
        return release(&b), NULL;
    Py_ssize_t written = w.troubled ? -1 : (Py_ssize_t)told(p, (size_t)n, vehicles, models, out);
    release(&b);
    return PyLong_FromSsize_t(written);
}

static PyMethodDef pipeline_methods[] = {
    {"changes", (PyCFunction)(void (*)(void))pipeline_changes, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pipeline_slots[] = {
    {Py_tp_new, pipeline_new}, {Py_tp_dealloc, pipeline_dealloc}, {Py_tp_methods, pipeline_methods},
    {Py_tp_doc, "All stages in one call."}, {0, NULL},
};

static PyType_Spec pipeline_spec = {"protocols.hotpath._kernel.Pipeline", sizeof(PipelineObject), 0, Py_TPFLAGS_DEFAULT, pipeline_slots};
