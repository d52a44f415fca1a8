#!/bin/bash
# Installs BUILD ($1) below a temporary directory, builds the embedding examples against what is
# installed there, with every compiler there is, runs them, and removes everything again.
set -eu
cd "$(dirname "$0")/.."

build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export DESTDIR=$scratch/root PREFIX=/opt/kyrodb
export PKG_CONFIG_PATH=$DESTDIR$PREFIX/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$DESTDIR

scripts/install.sh install "$build"
"$DESTDIR$PREFIX/bin/kyrodb" --version
"$DESTDIR$PREFIX/bin/kyrodbctl" --help >/dev/null
grep -q "^ExecStart=$PREFIX/bin/kyrodb " "$DESTDIR$PREFIX/lib/systemd/system/kyrodb.service"
for file in man/man1/kyrodb.1 man/man1/kyrodbctl.1 bash-completion/completions/kyrodb \
  bash-completion/completions/kyrodbctl zsh/site-functions/_kyrodb zsh/site-functions/_kyrodbctl; do
  [ -s "$DESTDIR$PREFIX/share/$file" ] || { echo "not installed: $file" && exit 1; }
done

# pkg-config itself, or what it would say.
if command -v pkg-config >/dev/null; then
  read -ra compile <<<"$(pkg-config --cflags kyrodb)"
  read -ra flags <<<"$(pkg-config --cflags --libs kyrodb)"
else
  echo "pkg-config is not installed: its file was not tried"
  compile=(-std=c++20 "-I$DESTDIR$PREFIX/include" -pthread)
  flags=("${compile[@]}" "-L$DESTDIR$PREFIX/lib" -lkyrodb)
fi
export LD_LIBRARY_PATH=$DESTDIR$PREFIX/lib

# The face costs a program little more than the standard headers that its functions speak of.
lines_of() { printf '#include <%s>\n' "$@" | g++ "${compile[@]}" -E -x c++ - | wc -l; }
own=$(($(lines_of kyro/kyro.h) - $(lines_of string span)))
[ "$own" -le 1500 ] || { echo "kyro.h has $own lines of its own" && exit 1; }

# An older standard is told so in one sentence.
if echo '#include <kyro/kyro.h>' |
  g++ "${compile[@]}" -std=c++17 -fsyntax-only -x c++ - 2>"$scratch/old"; then
  echo "C++17 was not refused" && exit 1
fi
[ "$(grep -c 'error:' "$scratch/old")" -eq 1 ] && grep -q 'KyroDB needs C++20' "$scratch/old"

# The headers are clean in a program with its own standard, warnings and stance on exceptions.
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  for standard in c++20 c++2b; do  # as clang 14 calls c++23
    for exceptions in -fexceptions -fno-exceptions; do
      "$compiler" "${compile[@]}" -std=$standard $exceptions -Wall -Wextra -Wconversion -Wshadow \
        -Werror -fsyntax-only scripts/examples/embed/embed.cpp
      echo "clean with $compiler -std=$standard $exceptions"
    done
  done
done

scripts/check_c.sh "$DESTDIR$PREFIX/include" "$DESTDIR$PREFIX/lib"

# with_cmake NAME KIND COMPILER STANDARD FLAG…: builds the example with CMake in a directory of its
# own, holds our headers to its warnings, and runs it.
with_cmake() {
  local name=$1 kind=$2 compiler=$3 standard=$4
  shift 4
  {
    cmake -S scripts/examples/cmake -B "$scratch/cmake-$name" -DKIND="$kind" \
      -DCMAKE_PREFIX_PATH="$DESTDIR$PREFIX" -DCMAKE_NO_SYSTEM_FROM_IMPORTED=ON \
      -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_STANDARD="$standard" -DCMAKE_CXX_FLAGS="$*" &&
      cmake --build "$scratch/cmake-$name"
  } >"$scratch/cmake.log" 2>&1 || { cat "$scratch/cmake.log" && exit 1; }
  echo "== $name with CMake"
  mkdir "$scratch/run-cmake-$name"
  (cd "$scratch/run-cmake-$name" && "$scratch/cmake-$name/embed" data)
}

# CMake finds the package, refuses it where another version is wanted, and builds with it.
if command -v cmake >/dev/null; then
  for compiler in g++ clang++; do
    command -v "$compiler" >/dev/null || continue
    for standard in 20 23; do
      for exceptions in -fexceptions -fno-exceptions; do
        with_cmake "$compiler-$standard$exceptions" kyrodb "$compiler" "$standard" "$exceptions" \
          -Wall -Wextra -Wconversion -Wshadow -Werror
      done
    done
  done
  for kind in static header_only; do with_cmake "$kind" "$kind" g++ 20 -Wall -Wextra -Werror; done
  if cmake -S scripts/examples/cmake -B "$scratch/cmake-other" -DWANTED=99.1 \
    -DCMAKE_PREFIX_PATH="$DESTDIR$PREFIX" >"$scratch/cmake.log" 2>&1; then
    echo "CMake took this version for 99.1" && exit 1
  fi
  echo "built with CMake"
else
  echo "cmake is not installed: its package was not tried"
fi

# The programs that the READMEs show.
mkdir "$scratch/readme"
while read -r readme; do
  name=readme$(dirname "$readme" | tr ./ _)
  # shellcheck disable=SC2016  # a fence of Markdown, no expansion
  sed -n '/^```cpp$/,/^```$/p' "$readme" | sed '/^```/d' >"$scratch/readme/$name.cpp"
  [ -s "$scratch/readme/$name.cpp" ] || rm "$scratch/readme/$name.cpp"
done < <(find . -name README.md -not -path './build/*')
[ "$(find "$scratch/readme" -name '*.cpp' | wc -l)" -ge 2 ]

# run NAME COMPILER FLAG…: builds a program, and runs it in a directory of its own.
run() {
  local name=$1
  shift
  "$@" -Wall -Wextra -Werror -o "$scratch/$name"
  echo "== $name"
  mkdir "$scratch/run-$name"
  (cd "$scratch/run-$name" && "$scratch/$name" data)
}

for compiler in g++ clang++; do
  if ! command -v "$compiler" >/dev/null; then
    echo "$compiler is not installed: nothing was built with it"
    continue
  fi
  for example in scripts/examples/embed/*.cpp "$scratch"/readme/*.cpp; do
    name=$(basename "$example" .cpp)
    run "$name-$compiler" "$compiler" "$example" "${flags[@]}"
  done
  # With the library inside, compiled without exceptions, in a program that has them or not.
  example=scripts/examples/embed/embed.cpp
  for exceptions in -fexceptions -fno-exceptions; do
    run "embed-static-$compiler$exceptions" "$compiler" $exceptions -std=c++20 \
      "-I$DESTDIR$PREFIX/include" "$example" "$DESTDIR$PREFIX/lib/libkyrodb.a" -pthread
  done
done
# Without any library, which CMake has tried where it is.
if ! command -v cmake >/dev/null; then
  run embed-header-only g++ -std=c++20 -O0 -DKYRO_HEADER_ONLY "-I$DESTDIR$PREFIX/include" \
    scripts/examples/embed/embed.cpp -pthread
fi

scripts/install.sh uninstall
left=$(find "$DESTDIR$PREFIX" -mindepth 1)
if [ -n "$left" ]; then
  echo "uninstall left behind: $left"
  exit 1
fi
echo "installed, built against, removed"
