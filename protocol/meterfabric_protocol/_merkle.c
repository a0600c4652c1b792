/* The two loops of RFC 6962 section 2.1 over whole buffers: the hashes of a payload's leaves, and of the nodes above.
 *
 * Every record is hashed twice on either side of the fabric, and from Python most of that time goes into making and
 * calling one digest object each. Here a batch is one call, without Python's lock held. SHA-256 is OpenSSL's.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <openssl/evp.h>
#include <string.h>

enum { HASH_BYTES = 32 };

static EVP_MD *sha256;

/* A digest that has seen its prefix, and the one that goes on from there for each leaf or node: copying that state is
 * cheaper than starting anew. */
typedef struct {
    EVP_MD_CTX *prefixed;
    EVP_MD_CTX *running;
} Hasher;

static void hasher_free(Hasher *hasher)
{
    EVP_MD_CTX_free(hasher->prefixed);
    EVP_MD_CTX_free(hasher->running);
}

static int hasher_init(Hasher *hasher, unsigned char prefix)
{
    hasher->prefixed = EVP_MD_CTX_new();
    hasher->running = EVP_MD_CTX_new();
    if (hasher->prefixed && hasher->running && EVP_DigestInit_ex2(hasher->prefixed, sha256, NULL) &&
        EVP_DigestUpdate(hasher->prefixed, &prefix, 1))
        return 1;
    hasher_free(hasher);
    return 0;
}

static int hasher_hash(Hasher *hasher, const unsigned char *data, size_t length, unsigned char *out)
{
    return EVP_MD_CTX_copy_ex(hasher->running, hasher->prefixed) && EVP_DigestUpdate(hasher->running, data, length) &&
           EVP_DigestFinal_ex(hasher->running, out, NULL);
}

typedef enum { DONE, MISSHAPEN, BROKEN } Outcome;

static Outcome hash_lines(const unsigned char *at, const unsigned char *end, Py_ssize_t count, int first, int last,
                          Py_ssize_t most, unsigned char *out)
{
    Hasher hasher;
    if (!hasher_init(&hasher, 0))
        return BROKEN;
    Outcome outcome = DONE;
    for (; count > 0 && outcome == DONE; count--, out += HASH_BYTES) {
        const unsigned char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (newline == NULL || newline == at || newline - at > most || *at != first || newline[-1] != last)
            outcome = MISSHAPEN;
        else if (!hasher_hash(&hasher, at, (size_t)(newline - at), out))
            outcome = BROKEN;
        else
            at = newline + 1;
    }
    hasher_free(&hasher);
    return outcome == DONE && at != end ? MISSHAPEN : outcome;
}

static Outcome hash_pairs(const unsigned char *at, const unsigned char *end, unsigned char *out)
{
    Hasher hasher;
    if (!hasher_init(&hasher, 1))
        return BROKEN;
    Outcome outcome = DONE;
    for (; at < end && outcome == DONE; at += 2 * HASH_BYTES, out += HASH_BYTES)
        if (!hasher_hash(&hasher, at, 2 * HASH_BYTES, out))
            outcome = BROKEN;
    hasher_free(&hasher);
    return outcome;
}

static PyObject *conclude(Outcome outcome, PyObject *hashes)
{
    if (outcome == DONE)
        return hashes;
    Py_DECREF(hashes);
    if (outcome == MISSHAPEN)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_RuntimeError, "OpenSSL could not hash");
    return NULL;
}

static PyObject *line_hashes(PyObject *self, PyObject *args)
{
    Py_buffer payload;
    Py_ssize_t count, most;
    int first, last;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*niin:line_hashes", &payload, &count, &first, &last, &most))
        return NULL;
    /* A line takes two bytes at least: what can't be is refused before memory is asked for it. */
    if (count < 0 || count > payload.len / 2) {
        PyBuffer_Release(&payload);
        Py_RETURN_NONE;
    }
    PyObject *hashes = PyBytes_FromStringAndSize(NULL, count * HASH_BYTES);
    Outcome outcome = BROKEN;
    if (hashes != NULL) {
        const unsigned char *at = payload.buf;
        unsigned char *out = (unsigned char *)PyBytes_AsString(hashes);
        Py_BEGIN_ALLOW_THREADS
        outcome = hash_lines(at, at + payload.len, count, first, last, most, out);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&payload);
    return hashes == NULL ? NULL : conclude(outcome, hashes);
}

static PyObject *pair_hashes(PyObject *self, PyObject *argument)
{
    Py_buffer nodes;
    (void)self;
    if (PyObject_GetBuffer(argument, &nodes, PyBUF_SIMPLE) < 0)
        return NULL;
    if (nodes.len % (2 * HASH_BYTES)) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are no pairs of hashes", nodes.len);
        PyBuffer_Release(&nodes);
        return NULL;
    }
    PyObject *hashes = PyBytes_FromStringAndSize(NULL, nodes.len / 2);
    Outcome outcome = BROKEN;
    if (hashes != NULL) {
        const unsigned char *at = nodes.buf;
        unsigned char *out = (unsigned char *)PyBytes_AsString(hashes);
        Py_BEGIN_ALLOW_THREADS
        outcome = hash_pairs(at, at + nodes.len, out);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&nodes);
    return hashes == NULL ? NULL : conclude(outcome, hashes);
}

static PyMethodDef methods[] = {
    {"line_hashes", line_hashes, METH_VARARGS,
     "line_hashes(payload, count, first, last, most): the leaf hashes of exactly `count` lines, one after another; None "
     "where the payload isn't that many, each ended by a newline, begun by the byte `first`, closed by the byte `last` "
     "and at most `most` bytes long."},
    {"pair_hashes", pair_hashes, METH_O,
     "pair_hashes(nodes): the hashes of the nodes above these, which are pairs, left and right, one after another."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_merkle", "RFC 6962's hashes over whole buffers.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__merkle(void)
{
    if (sha256 == NULL)
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha256 == NULL) {
        PyErr_SetString(PyExc_ImportError, "OpenSSL has no SHA256");
        return NULL;
    }
    return PyModuleDef_Init(&module);
}
