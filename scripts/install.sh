#!/bin/bash
# Installs what was built, or removes exactly what an earlier installation put there:
#
#   scripts/install.sh install BUILD     into $DESTDIR$PREFIX (default /usr/local)
#   scripts/install.sh uninstall
#
# The list of files and of directories that had to be made lies in share/kyrodb/installed;
# installing again removes first what the list names.
set -eu
cd "$(dirname "$0")/.."

prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}$prefix
list=$root/share/kyrodb/installed

case $prefix in
  /*) ;;
  *)
    echo "install: PREFIX must begin with /: $prefix" >&2
    exit 2
    ;;
esac

# Files first, then the directories, deepest first, as long as they are empty.
uninstall() {
  local path
  sort -r "$list" >"$scratch/old"
  while IFS= read -r path; do
    if [ ! -d "$root/$path" ] || [ -L "$root/$path" ]; then rm -f "${root:?}/$path"; fi
  done <"$scratch/old"
  while IFS= read -r path; do
    if [ -d "$root/$path" ]; then rmdir --ignore-fail-on-non-empty "$root/$path"; fi
  done <"$scratch/old"
}

# Makes the directory $1 below the root and notes it, and every one above it that was missing.
make_dir() {
  [ -d "$root/$1" ] && return 0
  if [[ $1 == */* ]]; then make_dir "${1%/*}"; fi
  mkdir -p "$root/$1"
  echo "$1" >>"$new"
}

# put MODE SOURCE DESTINATION
put() {
  make_dir "${3%/*}"
  install -m "$1" "$2" "$root/$3"
  echo "$3" >>"$new"
}

# put_all DIRECTORY FILE…
put_all() {
  local dir=$1
  shift
  make_dir "$dir"
  install -m 644 -t "$root/$dir" "$@"
  printf "%s\n" "${@##*/}" | sed "s|^|$dir/|" >>"$new"
}

# What `make lib` has built, and what tells other build systems of it.
install_library() {
  local pc
  put 644 kyro/embed/kyrodb.h include/kyrodb.h
  put 644 "$1/libkyrodb.a" lib/libkyrodb.a
  put 644 "$1/libkyrodb.so.0" lib/libkyrodb.so.0
  ln -sf libkyrodb.so.0 "$root/lib/libkyrodb.so"
  echo lib/libkyrodb.so >>"$new"
  for pc in kyrodb kyrodb-c; do
    sed "s|@PREFIX@|$prefix|; s|@VERSION@|$VERSION|" scripts/deploy/$pc.pc.in >"$scratch/pc"
    put 644 "$scratch/pc" lib/pkgconfig/$pc.pc
  done
  put 644 scripts/deploy/cmake/kyrodbConfig.cmake lib/cmake/kyrodb/kyrodbConfig.cmake
  sed "s|@VERSION@|$VERSION|" scripts/deploy/cmake/kyrodbConfigVersion.cmake.in >"$scratch/cmake"
  put 644 "$scratch/cmake" lib/cmake/kyrodb/kyrodbConfigVersion.cmake
}

install_all() {
  local build=$1 layer file
  put 755 "$build/kyrodb" bin/kyrodb
  ln -sf kyrodb "$root/bin/kyrodbctl"
  echo bin/kyrodbctl >>"$new"

  # What the embedding face may include; the server's own headers are not an interface.
  put 644 kyro/kyro.h include/kyro/kyro.h
  while IFS= read -r layer; do
    put_all "include/$layer" "$layer"/*.h
  done < <(find kyro/base kyro/embed kyro/json kyro/index kyro/storage -type d | sort)
  if [ -e "$build/libkyrodb.a" ]; then install_library "$build"; fi

  for file in "$build"/man/*.1; do
    if [ -e "$file" ]; then put 644 "$file" "share/man/man1/${file##*/}"; fi
  done
  for file in "$build"/completions/*; do
    [ -e "$file" ] || continue
    case ${file##*/} in
      _*) put 644 "$file" "share/zsh/site-functions/${file##*/}" ;;
      *) put 644 "$file" "share/bash-completion/completions/${file##*/}" ;;
    esac
  done

  sed "s|/usr/local/bin/|$prefix/bin/|" scripts/deploy/kyrodb.service >"$scratch/service"
  put 644 "$scratch/service" lib/systemd/system/kyrodb.service
  put_all share/kyrodb scripts/deploy/grafana.json scripts/deploy/alerts.yml \
    scripts/api/openapi.json
  put 644 LICENSE share/doc/kyrodb/LICENSE
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
new=$scratch/new

case ${1:-} in
  install)
    VERSION=${VERSION:-$("$2/kyrodb" --version | cut -d' ' -f2)}
    if [ -e "$list" ]; then uninstall; fi
    mkdir -p "$root"
    : >"$new"
    install_all "$2"
    make_dir share/kyrodb
    echo share/kyrodb/installed >>"$new"
    cp "$new" "$list"
    ;;
  uninstall)
    if [ ! -e "$list" ]; then
      echo "uninstall: nothing of KyroDB is installed in $root (no $list)" >&2
      exit 1
    fi
    uninstall
    ;;
  *)
    echo "usage: scripts/install.sh install BUILD | uninstall" >&2
    exit 2
    ;;
esac
