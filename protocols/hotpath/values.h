/* Rows to values, changes and text. Included by kernel.c. */

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
