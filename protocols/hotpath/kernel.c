/* The hot path in C: frames to rows, rows to values, values to changes, changes to text; and rows to frames.
 *
 * Knows no protocol: plans and framing come from Python, which read them off the construct declarations. Every argument is a list
 * of bytes or a contiguous buffer; sizes are checked before anything is read. Calls that take only buffers release the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lanes.h"
#include "plans.h"

static enum { PORTABLE, FAST, WIDE, VAST } level;                      /* what the processor has */
static int broad;                                                      /* and registers of 64 bytes, any of which it can move where it likes */

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

#include "ends.h"
#include "table.h"
#include "frames.h"
#include "build.h"
#include "sealing.h"
#include "values.h"
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

/* dispatch(most): use what the processor has, at most this: 0 is the portable code, 1 all, 2 SSSE3, 3 AVX2, 4 its
 * VPCLMULQDQ, too; what is used then. */
static PyObject *dispatch(PyObject *module, PyObject *most) {
    static const char *const names[] = {"portable", "ssse3 pclmul", "avx2 pclmul", "avx2 vpclmulqdq", "avx512 vbmi vpclmulqdq"};
    const long wanted = PyLong_AsLong(most);
    if (wanted == -1 && PyErr_Occurred())
        return NULL;
    level = PORTABLE, broad = 0;
#if SIMD
    __builtin_cpu_init();
    if (wanted && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1"))
        level = wanted == 2 || !__builtin_cpu_supports("avx2") ? FAST : wanted == 3 || !__builtin_cpu_supports("vpclmulqdq") ? WIDE : VAST;
    by_twos = twos && level;
    broad = level == VAST && wanted != 4 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2");
    by_sixteens = sixteens && broad;
#endif
    return PyUnicode_FromString(names[(int)level + broad]);
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
    {"seals_at_once", seals_at_once, METH_NOARGS, NULL},
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
