#!/bin/sh
# interpreter.sh ARCH NATIVE: build CPython and the C modules of packages as static libraries, below /build/out.
# Runs in the root of build_root.py, with the sources in /build/sources. NATIVE is a Python of the same version that runs
# here, or "" where ARCH is this machine's own. Every path is below /build in each build, for some get into the objects.
set -eu
arch=$1 native=$2 triple=$1-linux-gnu out=/build/out
export CC="$triple-gcc" AR="$triple-ar" RANLIB="$triple-ranlib" READELF="$triple-readelf"
# What static libraries need in turn comes with --static.
export PKG_CONFIG='pkg-config --static' PKG_CONFIG_LIBDIR="/usr/lib/$triple/pkgconfig"
flags='-O2 -g0 -fno-pie -fno-ident -fno-asynchronous-unwind-tables -ffile-prefix-map=/build=.'
cd /build
tar -xf sources/python3.*.orig.tar.xz
for file in sources/*.tar.gz; do tar -xzf "$file"; done
python=$(echo /build/Python-3.*) modules=/build/modules
mkdir obj modules

# Debian's security fixes. What it changes to make packages of Python has names that end in .diff.
tar -xf sources/python3.*.debian.tar.xz
grep '^[^#].*[.]patch$' debian/patches/series >patches
while read -r name; do
  patch -d "$python" -p1 --fuzz=0 --no-backup-if-mismatch --batch <"debian/patches/$name"
done <patches

# No loader: nothing is ever loaded from the host. Modules that drydock never comes to are left out by name.
export MODULE_BUILDTYPE=static
for module in _asyncio _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _curses _curses_panel \
  _dbm _elementtree _gdbm _hashlib _interpchannels _interpqueues _interpreters _lsprof _lzma _multibytecodec _multiprocessing \
  _posixshmem _ssl _tkinter _uuid _zoneinfo grp nis pyexpat readline syslog xxlimited xxlimited_35; do
  export "py_cv_module_$module=n/a"
done
cd obj
set -- --disable-shared --disable-test-modules --with-ensurepip=no --prefix=/usr CFLAGS="$flags" \
  LDFLAGS='-static -no-pie -Wl,--build-id=none' LINKFORSHARED=' ' ac_cv_func_dlopen=no
if [ -n "$native" ]; then
  set -- "$@" --build="$(gcc -dumpmachine)" --host="$triple" --with-build-python="$native" \
    ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_buggy_getaddrinfo=no
fi
"$python/configure" "$@"
make -j2 python

# module FILES FLAG...: compile a package's C files, here, each under a name of its own.
module() {
  files=$1; shift
  for file in $files; do
    $CC $flags -DNDEBUG -I/build/obj -I"$python/Include" "$@" -c "$file" -o "$modules/$(echo "$PWD/$file" | tr / _).o"
  done
}
cd /build/psutil-*
module 'psutil/arch/all/*.c psutil/arch/posix/*.c psutil/arch/linux/*.c psutil/_psutil_linux.c' \
  -DPSUTIL_POSIX=1 -DPSUTIL_LINUX=1 -DPSUTIL_SIZEOF_PID_T=4 -DPSUTIL_VERSION=722
cd /build/pyxattr-*
module xattr.c '-D_XATTR_VERSION="0.8.1"' '-D_XATTR_AUTHOR="Iustin Pop"' '-D_XATTR_EMAIL="iustin@k1024.org"'
cd /build/msgspec-*
module src/msgspec/_core.c
cd /build/backports_zstd-*/src/c
module 'compression_zstd/*.c' -DZSTD_MULTITHREAD -Icompat -Icompression_zstd -Icompression_zstd/clinic \
  -Ipythoncapi-compat
"$AR" crD "$out/libmodules.a" "$modules"/*.o

cd /build/obj
cp libpython3.13.a pyconfig.h "$out"
find Modules -name '*.a' -exec cp {} "$out" ';'
printf 'print:\n\t@echo $(LIBS) $(MODLIBS) $(SYSLIBS)\n' | make -s -f Makefile -f - print | sed 's|Modules/[^ ]*/|/build/python/|g' >"$out/libraries"
cp python "$out/python"
cp -r "$python/Include" "$out/include"
mkdir "$out/lib"
cp -r "$python/Lib" "$out/lib/python3.13"
