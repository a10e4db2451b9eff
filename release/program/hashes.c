/* The module _hashlib, which hashlib looks for first: SHA-2 by OpenSSL's code for this processor, five times as fast as
 * Python's own. OpenSSL's module of that name needs all of libcrypto, a third of the executable, and at run time reads
 * the host's openssl.cnf, which may name providers that a static program cannot load.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <openssl/sha.h>
#include <string.h>

enum { LONGEST_BRIEF = 2047 }; /* bytes that are hashed without letting other threads run, as hashlib's documents say */

struct method {
    const char *name;
    int digest_size, block_size;
};

static const struct method methods[] = {
    {"sha256", SHA256_DIGEST_LENGTH, SHA256_CBLOCK},
    {"sha384", SHA384_DIGEST_LENGTH, SHA512_CBLOCK},
    {"sha512", SHA512_DIGEST_LENGTH, SHA512_CBLOCK},
};

typedef union {
    SHA256_CTX narrow;
    SHA512_CTX wide;
} State;

typedef struct {
    PyObject_HEAD
    const struct method *method;
    PyMutex mutex;
    State state;
} Hash;

static PyTypeObject *hash_type;

static void begin(const struct method *method, State *state)
{
    if (method->digest_size == SHA256_DIGEST_LENGTH)
        SHA256_Init(&state->narrow);
    else if (method->digest_size == SHA384_DIGEST_LENGTH)
        SHA384_Init(&state->wide);
    else
        SHA512_Init(&state->wide);
}

static void add(Hash *self, const void *data, size_t size)
{
    if (self->method->block_size == SHA256_CBLOCK)
        SHA256_Update(&self->state.narrow, data, size);
    else
        SHA512_Update(&self->state.wide, data, size);
}

static State current(Hash *self)
{
    PyMutex_Lock(&self->mutex);
    State state = self->state;
    PyMutex_Unlock(&self->mutex);
    return state;
}

static int update(Hash *self, PyObject *data)
{
    Py_buffer view;
    if (PyUnicode_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "Strings must be encoded before hashing");
        return -1;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return -1;
    if (view.len > LONGEST_BRIEF) {
        Py_BEGIN_ALLOW_THREADS
        PyMutex_Lock(&self->mutex);
        add(self, view.buf, view.len);
        PyMutex_Unlock(&self->mutex);
        Py_END_ALLOW_THREADS
    } else {
        PyMutex_Lock(&self->mutex);
        add(self, view.buf, view.len);
        PyMutex_Unlock(&self->mutex);
    }
    PyBuffer_Release(&view);
    return 0;
}

static Hash *make(const struct method *method)
{
    Hash *made = PyObject_New(Hash, hash_type);
    if (made != NULL) {
        made->method = method;
        made->mutex = (PyMutex){0};
    }
    return made;
}

static PyObject *construct(const struct method *method, PyObject *data)
{
    Hash *made = make(method);
    if (made == NULL)
        return NULL;
    begin(method, &made->state);
    if (data != NULL && update(made, data) < 0)
        Py_CLEAR(made);
    return (PyObject *)made;
}

static void hash_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *hash_update(PyObject *self, PyObject *data)
{
    if (update((Hash *)self, data) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *hash_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    Hash *made = make(((Hash *)self)->method);
    if (made != NULL)
        made->state = current((Hash *)self);
    return (PyObject *)made;
}

static PyObject *hash_digest(PyObject *self, PyObject *unused)
{
    (void)unused;
    const struct method *method = ((Hash *)self)->method;
    unsigned char digest[SHA512_DIGEST_LENGTH];
    State state = current((Hash *)self);
    if (method->block_size == SHA256_CBLOCK)
        SHA256_Final(digest, &state.narrow);
    else
        SHA512_Final(digest, &state.wide);
    return PyBytes_FromStringAndSize((char *)digest, method->digest_size);
}

static PyObject *hash_hexdigest(PyObject *self, PyObject *unused)
{
    PyObject *digest = hash_digest(self, unused);
    PyObject *hex = digest == NULL ? NULL : PyObject_CallMethod(digest, "hex", NULL);
    Py_XDECREF(digest);
    return hex;
}

static PyMethodDef hash_methods[] = {
    {"copy", hash_copy, METH_NOARGS, NULL},
    {"digest", hash_digest, METH_NOARGS, NULL},
    {"hexdigest", hash_hexdigest, METH_NOARGS, NULL},
    {"update", hash_update, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *get_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((Hash *)self)->method->name);
}

static PyObject *get_digest_size(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((Hash *)self)->method->digest_size);
}

static PyObject *get_block_size(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((Hash *)self)->method->block_size);
}

static PyGetSetDef hash_attributes[] = {
    {"block_size", get_block_size, NULL, NULL, NULL},
    {"digest_size", get_digest_size, NULL, NULL, NULL},
    {"name", get_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot hash_slots[] = {
    {Py_tp_dealloc, hash_dealloc}, {Py_tp_methods, hash_methods}, {Py_tp_getset, hash_attributes}, {0, NULL},
};

static PyType_Spec hash_spec = {
    .name = "_hashlib.HASH", .basicsize = sizeof(Hash), .slots = hash_slots,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
};

/* The data may be absent; what it is used for changes nothing here. */
static PyObject *construct_by(const struct method *method, PyObject *arguments, PyObject *options)
{
    static char *names[] = {"string", "usedforsecurity", NULL};
    PyObject *data = NULL, *purpose = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, options, "|O$O", names, &data, &purpose))
        return NULL;
    return construct(method, data);
}

static PyObject *openssl_sha256(PyObject *module, PyObject *arguments, PyObject *options)
{
    (void)module;
    return construct_by(&methods[0], arguments, options);
}

static PyObject *openssl_sha384(PyObject *module, PyObject *arguments, PyObject *options)
{
    (void)module;
    return construct_by(&methods[1], arguments, options);
}

static PyObject *openssl_sha512(PyObject *module, PyObject *arguments, PyObject *options)
{
    (void)module;
    return construct_by(&methods[2], arguments, options);
}

static PyObject *new(PyObject *module, PyObject *arguments, PyObject *options)
{
    (void)module;
    static char *names[] = {"name", "string", "usedforsecurity", NULL};
    const char *name;
    PyObject *data = NULL, *purpose = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, options, "s|O$O", names, &name, &data, &purpose))
        return NULL;
    for (size_t number = 0; number < sizeof methods / sizeof *methods; number++)
        if (strcmp(methods[number].name, name) == 0)
            return construct(&methods[number], data);
    /* hashlib then asks Python's own modules. */
    return PyErr_Format(PyExc_ValueError, "unsupported hash type %s", name);
}

static PyMethodDef module_methods[] = {
    {"new", (PyCFunction)(void (*)(void))new, METH_VARARGS | METH_KEYWORDS, NULL},
    {"openssl_sha256", (PyCFunction)(void (*)(void))openssl_sha256, METH_VARARGS | METH_KEYWORDS, NULL},
    {"openssl_sha384", (PyCFunction)(void (*)(void))openssl_sha384, METH_VARARGS | METH_KEYWORDS, NULL},
    {"openssl_sha512", (PyCFunction)(void (*)(void))openssl_sha512, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    hash_type = (PyTypeObject *)PyType_FromSpec(&hash_spec);
    if (hash_type == NULL || PyModule_AddObjectRef(module, "HASH", (PyObject *)hash_type) < 0)
        return -1;
    return PyModule_Add(module, "openssl_md_meth_names", PyFrozenSet_New(NULL));
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
    {0, NULL},
};

static PyModuleDef hashes_module = {
    PyModuleDef_HEAD_INIT, .m_name = "_hashlib", .m_methods = module_methods, .m_slots = module_slots,
};

PyObject *PyInit__hashlib(void)
{
    return PyModuleDef_Init(&hashes_module);
}
