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
  read -ra flags <<<"$(pkg-config --cflags --libs kyrodb)"
else
  echo "pkg-config is not installed: its file was not tried"
  flags=("-I$DESTDIR$PREFIX/include" -pthread)
fi

# The headers are clean in a program with its own standard, warnings and stance on exceptions.
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  for standard in c++20 c++2b; do  # as clang 14 calls c++23
    for exceptions in -fexceptions -fno-exceptions; do
      "$compiler" -std=$standard $exceptions -Wall -Wextra -Wconversion -Wshadow -Werror \
        -fsyntax-only "${flags[@]}" scripts/examples/embed/embed.cpp
      echo "clean with $compiler -std=$standard $exceptions"
    done
  done
done

# CMake finds the package, refuses it where another version is wanted, and builds with it.
if command -v cmake >/dev/null; then
  cmake -S scripts/examples/cmake -B "$scratch/cmake" -DCMAKE_PREFIX_PATH="$DESTDIR$PREFIX" \
    >"$scratch/cmake.log" || { cat "$scratch/cmake.log" && exit 1; }
  cmake --build "$scratch/cmake" >"$scratch/cmake.log" || { cat "$scratch/cmake.log" && exit 1; }
  mkdir "$scratch/run-cmake"
  (cd "$scratch/run-cmake" && "$scratch/cmake/embed" data)
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

for compiler in g++ clang++; do
  if ! command -v "$compiler" >/dev/null; then
    echo "$compiler is not installed: nothing was built with it"
    continue
  fi
  for example in scripts/examples/embed/*.cpp "$scratch"/readme/*.cpp; do
    name=$(basename "$example" .cpp)
    "$compiler" -std=c++20 -Wall -Wextra -Werror "$example" "${flags[@]}" -o "$scratch/$name"
    echo "== $name, built with $compiler"
    mkdir "$scratch/run-$name-$compiler"
    (cd "$scratch/run-$name-$compiler" && "$scratch/$name" data)
  done
done

scripts/install.sh uninstall
left=$(find "$DESTDIR$PREFIX" -mindepth 1)
if [ -n "$left" ]; then
  echo "uninstall left behind: $left"
  exit 1
fi
echo "installed, built against, removed"
