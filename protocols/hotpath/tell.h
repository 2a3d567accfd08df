/* What values say of their vehicles in JSON: the properties, and the same each with its moment. Included by kernel.c. */

enum { TELL_NUMBER, TELL_NAME, TELL_DATE, TELL_POSITION };             /* as told.py numbers them */

#define LAST_MS 253402300799999ll                                      /* what RFC 3339 can say: until the year 9999 */
#define FIRST_DAY (-719162)
#define LAST_DAY 2932896

typedef struct {
    PyObject *words;                                           /* names in JSON */
    char *before;                                              /* "key":{"timestamp":" */
    size_t before_size, key_size;                              /* key_size: as far as the colon */
    uint32_t lane, kind, decimals, further;                    /* further: the decimals of a position's second axis */
} told_t;

typedef struct { told_t *told; size_t n, limit; int64_t number; } told_model_t;

typedef struct {
    PyObject_HEAD
    told_model_t *models;
    size_t n, lanes;
    char *room;                                                /* for the longest row, written twice */
} TellerObject;

static void teller_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    TellerObject *t = (TellerObject *)self;
    for (size_t m = 0; m < t->n; m++) {
        for (size_t i = 0; i < t->models[m].n; i++) {
            told_t *r = t->models[m].told + i;
            Py_XDECREF(r->words), free(r->before);
        }
        free(t->models[m].told);
    }
    free(t->models), free(t->room);
    type->tp_free(self);
    Py_DECREF(type);
}

/* One property: (key, lane, kind, words, decimals, decimals of the second axis). The room that it takes at most; 0: refused. */
static size_t told_of(told_t *r, PyObject *said, size_t lanes) {
    PyObject *key, *words;
    if (!PyTuple_Check(said) ||
        !PyArg_ParseTuple(said, "UIIO!II", &key, &r->lane, &r->kind, &PyTuple_Type, &words, &r->decimals, &r->further))
        return 0;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(key, &size);
    size_t longest = 64;
    int right = text != NULL && r->kind <= TELL_POSITION && r->lane + (size_t)(r->kind == TELL_POSITION) < lanes && r->decimals < 10 && r->further < 10;
    right = right && !strpbrk(text, "\"\\");
    for (Py_ssize_t i = 0; right && i < PyTuple_GET_SIZE(words); i++) {
        PyObject *word = PyTuple_GET_ITEM(words, i);
        right = PyBytes_Check(word);
        if (right && (size_t)PyBytes_GET_SIZE(word) > longest)
            longest = (size_t)PyBytes_GET_SIZE(word);
    }
    if (!right || !(r->before = malloc((size_t)size + 32)))
        return 0;
    r->before_size = (size_t)sprintf(r->before, "\"%s\":{\"timestamp\":\"", text), r->key_size = (size_t)size + 3;
    r->words = Py_NewRef(words);
    return r->before_size + 24 + 10 + longest + 2;
}

/* Teller(lanes, models): of each model (its number, its properties in their order) */
static PyObject *teller_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    TellerObject *self = (TellerObject *)type->tp_alloc(type, 0);
    PyObject *models;
    Py_ssize_t lanes;
    if (!self || !PyArg_ParseTuple(args, "nO!", &lanes, &PyList_Type, &models) || lanes < 0)
        goto refused;
    self->lanes = (size_t)lanes;
    size_t limit = 2;
    self->models = calloc((size_t)PyList_GET_SIZE(models) + 1, sizeof *self->models);
    if (!self->models)
        goto refused;
    for (Py_ssize_t m = 0; m < PyList_GET_SIZE(models); m++) {
        told_model_t *of = self->models + self->n++;
        PyObject *said;
        long long number;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(models, m), "LO!", &number, &PyList_Type, &said))
            goto refused;
        of->number = number, of->limit = 2;
        of->told = calloc((size_t)PyList_GET_SIZE(said) + 1, sizeof *of->told);
        if (!of->told)
            goto refused;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(said); i++) {
            size_t room = told_of(of->told + of->n++, PyList_GET_ITEM(said, i), self->lanes);
            if (!room)
                goto refused;
            of->limit += room;
        }
        limit = of->limit > limit ? of->limit : limit;
    }
    self->room = malloc(2 * limit);
    if (!self->room) {
        PyErr_NoMemory();
        goto refused;
    }
    return (PyObject *)self;
refused:
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "no properties of models");
    Py_XDECREF(self);
    return NULL;
}

/* As msgspec writes the same number, so that both ways to an event end in the same bytes. */
static char *put_fraction(char *p, int32_t steps, uint32_t decimals) {
    uint32_t u = steps < 0 ? 0u - (uint32_t)steps : (uint32_t)steps;
    if (decimals <= 5 || !u || u >= POWER[decimals - 5]) {
        p = put_fixed(p, steps, decimals);
        if (decimals)
            while (p[-1] == '0' && p[-2] != '.')
                p--;
        return p;
    }
    for (; u % 10 == 0; u /= 10)
        decimals--;
    if (steps < 0)
        *p++ = '-';
    char *first = p;
    p = put_unsigned(p, u);
    uint32_t exponent = decimals - (uint32_t)(p - first - 1);
    if (p - first > 1)
        memmove(first + 2, first + 1, (size_t)(p - first - 1)), first[1] = '.', p++;
    memcpy(p, "e-", 2);
    return put_unsigned(p + 2, exponent);
}

/* A number of `lanes` as JSON has it; NULL where it says nothing that can be said. */
static char *put_told(const told_t *r, const int32_t *lanes, char *p) {
    int32_t steps = lanes[r->lane];
    if (r->kind == TELL_NUMBER)
        return put_fraction(p, steps, r->decimals);
    if (r->kind == TELL_NAME) {
        if (steps < 0 || steps >= PyTuple_GET_SIZE(r->words))
            return NULL;
        PyObject *word = PyTuple_GET_ITEM(r->words, steps);
        memcpy(p, PyBytes_AS_STRING(word), (size_t)PyBytes_GET_SIZE(word));
        return p + PyBytes_GET_SIZE(word);
    }
    if (r->kind == TELL_DATE) {
        if (steps < FIRST_DAY || steps > LAST_DAY)
            return NULL;
        *p++ = '"', p = put_day(p, steps), *p++ = '"';
        return p;
    }
    memcpy(p, "{\"lat\":", 7), p = put_fraction(p + 7, steps, r->decimals);
    memcpy(p, ",\"lon\":", 7), p = put_fraction(p + 7, lanes[r->lane + 1], r->further), *p++ = '}';
    return p;
}

/* (the properties, the same with their moment, the mark); NULL without an error where the row says what cannot be said. */
static PyObject *told_row(const told_model_t *of, const int32_t *lanes, const char *stamp, size_t stamp_size, char *room) {
    size_t silence = (of->n + 7) / 8;
    PyObject *mark = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(8 + silence + 4 * of->n)), *plain = NULL, *json = NULL, *all = NULL;
    if (!mark)
        return NULL;
    char *p = room, *q = room + of->limit, *silent = PyBytes_AS_STRING(mark) + 8, *marks = silent + silence;
    memcpy(silent - 8, &of->number, 8), memset(silent, 0, silence);
    char separator = '{';
    for (size_t i = 0; i < of->n; i++, marks += 4) {
        const told_t *r = of->told + i;
        int32_t steps = lanes[r->lane], named = r->kind == TELL_NAME ? steps : 0;
        memcpy(marks, &named, 4);
        if (steps == SILENT) {
            silent[i / 8] |= (char)(1 << i % 8);
            continue;
        }
        *p++ = separator, memcpy(p, r->before, r->before_size), p += r->before_size;
        memcpy(p, stamp, stamp_size), p += stamp_size;
        memcpy(p, "\",\"value\":", 10), p += 10;
        *q++ = separator, memcpy(q, r->before, r->key_size), q += r->key_size;
        char *begin = p;
        if (!(p = put_told(r, lanes, p)))
            goto done;
        memcpy(q, begin, (size_t)(p - begin)), q += p - begin;
        *p++ = '}', separator = ',';
    }
    if (separator == '{')
        *p++ = '{', *q++ = '{';
    *p++ = '}', *q++ = '}';
    plain = PyBytes_FromStringAndSize(room + of->limit, q - room - (Py_ssize_t)of->limit);
    json = plain ? PyBytes_FromStringAndSize(room, p - room) : NULL;
    all = json ? PyTuple_Pack(3, plain, json, mark) : NULL;
done:
    Py_XDECREF(plain), Py_XDECREF(json), Py_XDECREF(mark);
    return all;
}

/* tell(values, models, times): for each row (properties, the same with their moment, mark), or None: of no model, or of what cannot be said. */
static PyObject *teller_tell(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    const TellerObject *t = (TellerObject *)self;
    buffers_t b = {.n = 0};
    if (!wants(nargs, 3))
        return NULL;
    const int32_t *models = taken(&b, args[1], 0, 0);
    Py_ssize_t n = models ? last_size(&b) / 4 : 0;
    const int32_t *values = models ? taken(&b, args[0], 0, n * (Py_ssize_t)t->lanes * 4) : NULL;
    const int64_t *times = values ? taken(&b, args[2], 0, n * 8) : NULL;
    PyObject *told = times ? PyList_New(n) : NULL;
    char stamp[32], date[10];
    int64_t day = INT64_MIN;
    for (Py_ssize_t i = 0; told && i < n; i++) {
        PyObject *row = NULL;
        if (models[i] >= 0 && (size_t)models[i] < t->n && times[i] >= 0 && times[i] <= LAST_MS) {
            size_t size = (size_t)(put_time(stamp, times[i], &day, date) - stamp);
            row = told_row(t->models + models[i], values + (size_t)i * t->lanes, stamp, size, t->room);
            if (!row && PyErr_Occurred())
                Py_CLEAR(told);
        }
        if (told)
            PyList_SET_ITEM(told, i, row ? row : Py_NewRef(Py_None));
    }
    release(&b);
    return told;
}

static PyMethodDef teller_methods[] = {
    {"tell", (PyCFunction)(void (*)(void))teller_tell, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot teller_slots[] = {
    {Py_tp_new, teller_new}, {Py_tp_dealloc, teller_dealloc}, {Py_tp_methods, teller_methods},
    {Py_tp_doc, "What values say of vehicles of some models."}, {0, NULL},
};

static PyType_Spec teller_spec = {"protocols.hotpath._kernel.Teller", sizeof(TellerObject), 0, Py_TPFLAGS_DEFAULT, teller_slots};
