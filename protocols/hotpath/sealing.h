/* Who sealed frames, and whether they are their speakers' own. Included by kernel.c. */

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
    twos = right && has_sha() && right_at_once(hmac_two, 2), by_twos = twos && level;
    sixteens = right && has_sixteen() && right_at_once(hmac_sixteen, SIXTEEN), by_sixteens = sixteens && broad;
#endif
    return PyBool_FromLong(right);
}

/* seals_at_once(): how many seals are checked beside each other. */
static PyObject *seals_at_once(PyObject *module, PyObject *none) {
    long many = 1;
#if SIMD
    many = by_sixteens ? SIXTEEN : by_twos ? LANES_OF_SHA : 1;
#endif
    return PyLong_FromLong(many);
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
