/* Where keys were accepted: a hash table of 8 bytes a place that is looked up and filled a batch at a time.
 *
 * A dict does the same at eight times the memory, and with a cache miss or two per record and table, which made the
 * window of repeats the dearest thing on a record's way through a sidecar. Here all slots of a stretch of keys are
 * fetched before the first one is looked at.
 *
 * A table is a buffer of 2**n slots of 64 bits, zero where empty: 40 bits of the key's hash, and 24 bits of where it is.
 * Open addressing, linear probing. What was put in stays, and keys that can't be told apart have a slot each, so that no
 * key is lost to another: a hit is a hint, no hit is certain.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>

enum { STRETCH = 64, PLACE_BITS = 24 };

#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)

typedef struct {
    Py_buffer view;
    uint64_t *slots;
    uint64_t mask;
} Table;

static int table_get(PyObject *object, Table *table)
{
    if (PyObject_GetBuffer(object, &table->view, PyBUF_WRITABLE) < 0)
        return 0;
    uint64_t slots = (uint64_t)table->view.len / sizeof(uint64_t);
    if (slots == 0 || (slots & (slots - 1)) || (uint64_t)table->view.len % sizeof(uint64_t)) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are no table: a power of two of slots of 8 bytes", table->view.len);
        PyBuffer_Release(&table->view);
        return 0;
    }
    table->slots = table->view.buf;
    table->mask = slots - 1;
    return 1;
}

/* Python's own hashes of strings are keyed anew in each process, so nobody can make keys collide. Spread over all bits,
 * for the lower ones choose the slot and the upper ones are kept. */
static int key_hash(PyObject *key, uint64_t *hash)
{
    Py_hash_t own = PyObject_Hash(key);
    if (own == -1 && PyErr_Occurred())
        return 0;
    uint64_t x = (uint64_t)own;
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    *hash = x;
    return 1;
}

/* Walks from a hash's slot to the empty one that ends its run, counting on the way those that hold this hash. Returns
 * the empty one, NULL where the table has none. */
static uint64_t *probe(const Table *table, uint64_t hash, Py_ssize_t *hits)
{
    for (uint64_t at = hash & table->mask, tried = 0; tried <= table->mask; at = (at + 1) & table->mask, tried++) {
        uint64_t *slot = &table->slots[at];
        if (*slot == 0)
            return slot;
        *hits += ((*slot ^ hash) & ~PLACE_MASK) == 0;
    }
    return NULL;
}

typedef int (*Visit)(const Table *table, uint64_t hash, uint64_t place, Py_ssize_t *hits);

/* Visits each key's hash, its slots fetched some keys ahead. 1 when all were visited, 0 when one stopped it, -1 on an
 * exception. */
static int each(const Table *table, PyObject *keys, uint64_t place, Visit visit, Py_ssize_t *hits)
{
    uint64_t hashes[STRETCH];
    Py_ssize_t total = PyList_Size(keys);
    for (Py_ssize_t first = 0; first < total; first += STRETCH) {
        Py_ssize_t some = total - first < STRETCH ? total - first : STRETCH;
        for (Py_ssize_t i = 0; i < some; i++) {
            if (!key_hash(PyList_GetItem(keys, first + i), &hashes[i]))
                return -1;
            __builtin_prefetch(&table->slots[hashes[i] & table->mask]);
        }
        for (Py_ssize_t i = 0; i < some; i++)
            if (!visit(table, hashes[i], place, hits))
                return 0;
    }
    return 1;
}

static int look(const Table *table, uint64_t hash, uint64_t place, Py_ssize_t *hits)
{
    (void)place;
    probe(table, hash, hits);
    return *hits == 0;
}

static int put(const Table *table, uint64_t hash, uint64_t place, Py_ssize_t *hits)
{
    uint64_t *slot = probe(table, hash, hits);
    if (slot == NULL)
        return 0;
    *slot = (hash & ~PLACE_MASK) | place;
    return 1;
}

static PyObject *holds_none(PyObject *self, PyObject *args)
{
    PyObject *object, *keys;
    Py_ssize_t hits = 0;
    Table table;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO!:holds_none", &object, &PyList_Type, &keys) || !table_get(object, &table))
        return NULL;
    int outcome = each(&table, keys, 0, look, &hits);
    PyBuffer_Release(&table.view);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

static PyObject *put_all(PyObject *self, PyObject *args)
{
    PyObject *object, *keys;
    Py_ssize_t place, hits = 0;
    Table table;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO!n:put_all", &object, &PyList_Type, &keys, &place))
        return NULL;
    if (place < 0 || (uint64_t)place >= PLACE_MASK)
        return PyErr_Format(PyExc_ValueError, "%zd is no place: 0 to %zd", place, (Py_ssize_t)PLACE_MASK - 1);
    if (!table_get(object, &table))
        return NULL;
    int outcome = each(&table, keys, (uint64_t)place + 1, put, &hits);
    PyBuffer_Release(&table.view);
    if (outcome > 0)
        return PyBool_FromLong(hits == 0);
    if (outcome == 0)
        PyErr_SetString(PyExc_ValueError, "the table is full");
    return NULL;
}

static PyObject *places_of(PyObject *self, PyObject *args)
{
    PyObject *object, *key;
    Table table;
    uint64_t hash;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO:places_of", &object, &key) || !key_hash(key, &hash) || !table_get(object, &table))
        return NULL;
    PyObject *found = PyList_New(0);
    for (uint64_t at = hash & table.mask, tried = 0; found != NULL && tried <= table.mask && table.slots[at] != 0;
         at = (at + 1) & table.mask, tried++) {
        if ((table.slots[at] ^ hash) & ~PLACE_MASK)
            continue;
        PyObject *place = PyLong_FromUnsignedLongLong((table.slots[at] & PLACE_MASK) - 1);
        if (place == NULL || PyList_Append(found, place) < 0)
            Py_CLEAR(found);
        Py_XDECREF(place);
    }
    PyBuffer_Release(&table.view);
    return found;
}

static PyMethodDef methods[] = {
    {"holds_none", holds_none, METH_VARARGS, "holds_none(table, keys): whether surely none of a list of keys is in it."},
    {"put_all", put_all, METH_VARARGS,
     "put_all(table, keys, place): put all in, each with `place`; whether surely none was in it and none comes twice."},
    {"places_of", places_of, METH_VARARGS, "places_of(table, key): the places of all that may be this key."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {{0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_places", "Places of keys, a batch at a time.", 0, methods, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__places(void)
{
    return PyModuleDef_Init(&module);
}
