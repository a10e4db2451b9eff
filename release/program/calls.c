/* ctypes finds functions of the C library by dlopen and dlsym, which a static executable has no use for: what it would
 * load needs the host's C library. Both are replaced (the linker's --wrap) by a table of what drydock calls by name.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    void *function;
} calls[] = {
    {"mallopt", mallopt}, {"name_to_handle_at", name_to_handle_at}, {"prctl", prctl}, {"renameat2", renameat2},
    {"setns", setns}, {"statx", statx}, {"syscall", syscall},
};

static const char *failure;

void *__wrap_dlopen(const char *file, int flags)
{
    (void)flags;
    if (file == NULL)
        return (void *)calls;
    failure = "this program loads no shared libraries";
    return NULL;
}

void *__wrap_dlsym(void *handle, const char *name)
{
    (void)handle;
    for (size_t number = 0; number < sizeof calls / sizeof *calls; number++)
        if (strcmp(calls[number].name, name) == 0)
            return calls[number].function;
    failure = "this program has no such function";
    return NULL;
}

char *__wrap_dlerror(void)
{
    const char *last = failure;
    failure = NULL;
    return (char *)last;
}

int __wrap_dlclose(void *handle)
{
    (void)handle;
    return 0;
}
