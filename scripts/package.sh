#!/bin/bash
# Makes packages of what was built, the same bytes every time from the same binary:
#
#   scripts/package.sh tarball BUILD TO   kyrodb-VERSION-linux-MACHINE.tar.gz in TO
#   scripts/package.sh deb BUILD TO       kyrodb, libkyrodb0 and kyrodb-dev, each _VERSION_ARCH.deb
#
# and TO/SHA256SUMS anew. BUILD holds binary, library, manual pages and completions. Environment:
# VERSION and MACHINE (x86_64), which an emulated binary is not asked for; CXX, which says what it
# was linked with; SOURCE_DATE_EPOCH, by default the time of the last commit, which every file gets.
set -eu
cd "$(dirname "$0")/.."
umask 022

kind=$1
build=$2
to=$3
version=${VERSION:-$("$build/kyrodb" --version | cut -d' ' -f2)}
machine=${MACHINE:-$(uname -m)}
compiler=${CXX:-g++}
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
fi
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
stage=$scratch/stage

# The version of the C library that this compiler links with.
glibc_version() {
  echo '#include <features.h>' | "$compiler" -x c++ -E -dM - |
    awk '$2 == "__GLIBC__" { a = $3 } $2 == "__GLIBC_MINOR__" { b = $3 } END { print a "." b }'
}

# What the binary is made of, for whoever has to know.
write_sbom() {
  sed "s|@VERSION@|$version|; s|@MACHINE@|$machine|; s|@GLIBC@|$(glibc_version)|
    s|@GCC@|$("$compiler" -dumpfullversion -dumpversion)|
    s|@DATE@|$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)|
    s|@SHA256@|$(sha256sum "$build/kyrodb" | cut -d' ' -f1)|g" scripts/deploy/kyrodb.spdx.in
}

# install_to PREFIX: everything below $stage/PREFIX.
install_to() {
  VERSION=$version DESTDIR=$stage PREFIX=$1 scripts/install.sh install "$build"
  rm "$stage$1/share/kyrodb/installed"
  write_sbom >"$stage$1/share/doc/kyrodb/kyrodb.spdx"
}

# Every file with the one time.
settle() {
  find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

make_tarball() {
  local name=kyrodb-$version-linux-$machine
  install_to /usr/local
  cp README.md CHANGELOG.md LICENSE "$stage/usr/local/"
  mv "$stage/usr/local" "$scratch/$name"
  settle "$scratch/$name"
  tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$name" |
    gzip -9n >"$to/$name.tar.gz"
}

# build_deb NAME CONTROL ARCH: of $scratch/NAME. Maintainer scripts lie in its DEBIAN already.
build_deb() {
  local root=$scratch/$1
  sed "s|@VERSION@|$version|; s|@ARCH@|$3|; s|@KIB@|$(du -sk "$root" | cut -f1)|
    s|@GLIBC@|$(glibc_version)|; s|@GCC@|$("$compiler" -dumpversion | cut -d. -f1)|" \
    "scripts/deploy/debian/$2" >"$root/DEBIAN/control"
  (cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z |
    xargs -0 md5sum) >"$scratch/md5sums"
  mv "$scratch/md5sums" "$root/DEBIAN/md5sums"
  settle "$root"
  dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$root" \
    "$to/$1_${version}_$3.deb" >/dev/null
}

# What Debian wants to find under the name of each package.
add_documents() {
  local doc=$scratch/$1/usr/share/doc/$1
  mkdir -p "$doc" "$scratch/$1/DEBIAN"
  {
    echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    printf '\nFiles: *\nCopyright: %s The KyroDB developers\nLicense: Apache-2.0\n' \
      "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y)"
    echo " See /usr/share/common-licenses/Apache-2.0."
  } >"$doc/copyright"
  {
    printf 'kyrodb (%s) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n' "$version"
    printf ' -- The KyroDB developers <developers@kyrodb.example>  %s\n' \
      "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
  } | gzip -9n >"$doc/changelog.gz"
}

make_debs() {
  local arch main=$scratch/kyrodb dev=$scratch/kyrodb-dev lib=$scratch/libkyrodb0
  case $machine in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) arch=$machine ;;
  esac
  install_to /usr
  mkdir -p "$main/lib/systemd" "$main/etc/default" "$dev/usr/lib" "$lib/usr/lib"
  mv "$stage/usr/include" "$dev/usr/"
  mv "$stage"/usr/lib/libkyrodb.so.* "$lib/usr/lib/"
  mv "$stage"/usr/lib/libkyrodb.* "$stage/usr/lib/pkgconfig" "$stage/usr/lib/cmake" "$dev/usr/lib/"
  mv "$stage/usr/lib/systemd/system" "$main/lib/systemd/"
  rmdir "$stage/usr/lib/systemd" "$stage/usr/lib"
  mv "$stage/usr" "$main/"
  rm "$main/usr/share/doc/kyrodb/LICENSE"
  mkdir -p "$main/usr/share/zsh/vendor-completions"
  mv "$main"/usr/share/zsh/site-functions/* "$main/usr/share/zsh/vendor-completions/"
  rmdir "$main/usr/share/zsh/site-functions"
  find "$main/usr/share/man" -name '*.1' -exec gzip -9n {} +
  cp CHANGELOG.md "$main/usr/share/doc/kyrodb/"
  # A user that is there for good, so that data, backups and tokens have an owner with a name.
  sed -i 's|^DynamicUser=yes|User=kyrodb\nGroup=kyrodb|
    s|^\(Environment=KYRODB_LOG_FORMAT=.*\)|\1\nEnvironmentFile=-/etc/default/kyrodb|' \
    "$main/lib/systemd/system/kyrodb.service"
  cp scripts/deploy/debian/default "$main/etc/default/kyrodb"
  add_documents kyrodb
  echo /etc/default/kyrodb >"$main/DEBIAN/conffiles"
  install -m 755 -t "$main/DEBIAN" scripts/deploy/debian/{postinst,prerm,postrm}
  mkdir -p "$main/usr/share/lintian/overrides"
  {
    echo "# One static file, position independent, is what it is meant to be."
    echo "kyrodb: shared-library-lacks-prerequisites [usr/bin/kyrodb]"
  } >"$main/usr/share/lintian/overrides/kyrodb"
  build_deb kyrodb control.in "$arch"
  add_documents kyrodb-dev
  build_deb kyrodb-dev dev_control.in "$arch"
  add_documents libkyrodb0
  echo "libkyrodb 0 libkyrodb0 (>= $version)" >"$lib/DEBIAN/shlibs"
  echo "activate-noawait ldconfig" >"$lib/DEBIAN/triggers"
  build_deb libkyrodb0 lib_control.in "$arch"
}

mkdir -p "$to"
case $kind in
  tarball) make_tarball ;;
  deb) make_debs ;;
  *) echo "usage: scripts/package.sh tarball|deb BUILD TO" >&2 && exit 2 ;;
esac
exec 9<"$to"
flock 9  # another kind may be made beside this one
cd "$to"
find . -maxdepth 1 \( -name '*.deb' -o -name '*.tar.gz' \) -printf '%P\n' | sort |
  xargs sha256sum >"$scratch/sums"
mv "$scratch/sums" SHA256SUMS
cat SHA256SUMS
