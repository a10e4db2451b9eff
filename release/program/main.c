/* drydock as one static executable: CPython, its modules and drydock's own, with nothing of the host but the kernel.
 *
 * Python code and data lie in the executable's own memory (archive.S), so nothing is unpacked, and the file need not
 * find itself: it runs without /proc, without a writable place, from a memfd, and after its name was removed.
 */
#include <Python.h>
#include <stdio.h>
#include <sys/mman.h>

#include "modules.h"

extern const char drydock_archive[], drydock_archive_end[];

/* Exit statuses of drydock (drydock --help). */
enum { UNREADABLE = 8, FAULT = 64, INTERRUPTED = 130 };

static int archive_exec(PyObject *module)
{
    PyObject *view = PyMemoryView_FromMemory((char *)drydock_archive, drydock_archive_end - drydock_archive, PyBUF_READ);
    return PyModule_Add(module, "data", view);
}

static PyModuleDef_Slot archive_slots[] = {
    {Py_mod_exec, archive_exec},
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
    {0, NULL},
};

static PyModuleDef archive_module = {
    PyModuleDef_HEAD_INIT, .m_name = "_drydock_archive", .m_doc = "The archive, as ``data``.", .m_slots = archive_slots,
};

static PyObject *init_archive(void)
{
    return PyModuleDef_Init(&archive_module);
}

/* Python's own statuses for what keeps it from starting, 1 among them, would say something else of drydock. */
static int cannot_start(PyStatus status)
{
    fprintf(stderr, "drydock: Python cannot start: %s\n", status.err_msg ? status.err_msg : "no reason given");
    return UNREADABLE;
}

/* Bytes that Python and drydock's own modules take before drydock itself can say that memory is short. Where they are
 * missing, Python prints tracebacks, loses exceptions, or never ends. */
enum { START_NEEDS = 14 << 20 };

static int has_room(void)
{
    void *probe = mmap(NULL, START_NEEDS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return probe != MAP_FAILED && munmap(probe, START_NEEDS) == 0;
}

int main(int argc, char **argv)
{
    if (!has_room()) {
        fputs("drydock: not enough memory to start\n", stderr);
        return UNREADABLE;
    }
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status))
        return cannot_start(status);

    PyImport_FrozenModules = frozen_modules;
    if (PyImport_ExtendInittab(builtin_modules) < 0 || PyImport_AppendInittab("_drydock_archive", init_archive) < 0)
        return cannot_start(PyStatus_NoMemory());

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 1;
    config.site_import = 0;
    config.use_frozen_modules = 1;
    config.pathconfig_warnings = 0;
    config.parse_argv = 0;
    config.write_bytecode = 0;
    config.module_search_paths_set = 1;
    wchar_t **const places[] = {
        &config.program_name, &config.executable, &config.base_executable, &config.prefix, &config.base_prefix,
        &config.exec_prefix, &config.base_exec_prefix, &config.home, &config.stdlib_dir,
    };
    for (size_t number = 0; number < sizeof places / sizeof *places && !PyStatus_Exception(status); number++)
        status = PyConfig_SetString(&config, places[number], L"");
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        return cannot_start(status);
    /* Not run_command: with it Python 3.13 imports linecache first, when nothing can be imported yet. */
    PyObject *start = PyImport_ImportModule("_drydock_start");
    if (start != NULL)
        PyObject_CallMethod(start, "run", NULL);
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return INTERRUPTED;
    PyErr_Print(); /* ends the process: run() always raises SystemExit */
    return FAULT;
}
