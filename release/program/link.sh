#!/bin/sh
# link.sh ARCH: drydock's executable, /build/out/drydock, of what interpreter.sh made (/build/python) and the packages in
# /build/stage. Runs in the root of build_root.py; /build/native is a Python of the same version that runs here.
set -eu
triple=$1-linux-gnu CC=$1-linux-gnu-gcc flags='-O2 -g0 -fno-pie -fno-ident -ffile-prefix-map=/build=.'
cd /build/out
PYTHONHOME=/build/native /build/native/python -I -X utf8 -B /build/program/compile.py \
  /build/stage /build/native/lib/python3.13 /build/out
cat >archive.S <<'ASM'
.section .rodata
.global drydock_archive, drydock_archive_end
.balign 16
drydock_archive: .incbin "archive"
drydock_archive_end: .byte 0
.section .note.GNU-stack,"",%progbits
ASM
for file in main calls hashes; do
  $CC $flags -Wall -Wextra -Werror -Wno-missing-field-initializers -I. -I/build/python -I/build/python/include \
    -c "/build/program/$file.c" -o "$file.o"
done
$CC -c archive.S -o archive.o
# What static glibc says of names of users and hosts is left out: drydock looks none up.
$CC -static -no-pie -s -Wl,--build-id=none -Wl,--gc-sections -Wl,-z,noexecstack \
  -Wl,--wrap=dlopen,--wrap=dlsym,--wrap=dlerror,--wrap=dlclose \
  -o drydock main.o calls.o hashes.o archive.o -L/build/python /build/python/libmodules.a /build/python/libpython3.13.a \
  $(cat /build/python/libraries) -lzstd -lcrypto 2>link.log || { cat link.log >&2; exit 1; }
"$triple-strip" --remove-section=.comment drydock
