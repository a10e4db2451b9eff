/* Modules that the executable has besides those of CPython's own config.c. */
#include "frozen.h"

PyObject *PyInit__core(void);
PyObject *PyInit__hashlib(void);
PyObject *PyInit__psutil_linux(void);
PyObject *PyInit__zstd(void);
PyObject *PyInit_xattr(void);

static struct _inittab builtin_modules[] = {
    {"_hashlib", PyInit__hashlib},
    {"backports.zstd._zstd", PyInit__zstd},
    {"msgspec._core", PyInit__core},
    {"psutil._psutil_linux", PyInit__psutil_linux},
    {"xattr", PyInit_xattr},
    {NULL, NULL},
};
