#!/bin/bash
# Makes <catch2/catch.hpp> (Catch2 2.x) available to the compiler given as $1 (default g++): does
# nothing where it is there already, else installs Debian's package catch2.
set -u

compiler=${1:-g++}

has_catch2() {
  echo '#include <catch2/catch.hpp>' | "$compiler" -std=c++20 -x c++ -E - >/dev/null 2>&1
}

fail() {
  echo "install-test-deps: $1" >&2
  exit 1
}

if ! command -v "$compiler" >/dev/null; then fail "the compiler $compiler is not installed."; fi
if has_catch2; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  fail "Catch2 2.x is missing and there is no apt-get: install catch2/catch.hpp by hand."
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    fail "Catch2 is missing and installing it needs root: run 'sudo apt-get install catch2' once."
  fi
  as_root=(sudo -n)
fi

echo "install-test-deps: installing Debian's catch2"
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q catch2)
if ! "${install[@]}" </dev/null >/dev/null 2>&1; then
  # The package lists may be missing or old.
  "${as_root[@]}" apt-get update -q </dev/null >/dev/null 2>&1
  "${install[@]}" </dev/null || fail "apt-get could not install catch2: see its message above."
fi
if ! has_catch2; then
  fail "catch2 is installed but has no catch2/catch.hpp: Catch2 3.x is not supported, install 2.x."
fi
