#!/bin/bash
# Tries the library and its header for C as they are installed below INCLUDE ($1) and LIB ($2): from
# C, linked with either of its forms, under valgrind, from Python; and that the shared one shows the
# functions of the header.
set -eu
cd "$(dirname "$0")/.."

include=$1
lib=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The functions of the header, as the map and the library list them: this is the binary interface.
sed 's|//.*||' "$include/kyrodb.h" | grep -oE '\bkyrodb_[a-z_]+\(' | tr -d '(' |
  sort -u >"$scratch/header"
nm -D --defined-only --with-symbol-versions "$lib/libkyrodb.so" |
  awk '$3 ~ /^kyrodb_/ { print $3 }' | sort >"$scratch/shown"
sed 's/$/@@KYRODB_0.1/' "$scratch/header" | diff - "$scratch/shown"
echo "$(wc -l <"$scratch/header") functions in header and library"

warnings=(-Wall -Wextra -Wpedantic -Werror)
for compiler in gcc clang; do
  command -v "$compiler" >/dev/null || continue
  "$compiler" -std=c11 "${warnings[@]}" -g "-I$include" -c test/embed/kyrodb_test.c \
    -o "$scratch/kyrodb_test.o"
  "$compiler" "$scratch/kyrodb_test.o" "-L$lib" "-Wl,-rpath,$lib" -lkyrodb -o "$scratch/shared"
  "$scratch/shared" "$scratch/$compiler-shared"
  "$compiler" "$scratch/kyrodb_test.o" "$lib/libkyrodb.a" -lstdc++ -pthread -lm -o "$scratch/static"
  "$scratch/static" "$scratch/$compiler-static"
done

if command -v valgrind >/dev/null; then
  valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,possible \
    "$scratch/shared" "$scratch/valgrind"
  echo "nothing found by valgrind"
else
  echo "valgrind is not installed: memory was not checked"
fi

if command -v python3 >/dev/null; then
  python3 -B test/embed/kyrodb_test.py "$lib/libkyrodb.so" "$scratch/python"
else
  echo "python3 is not installed: ctypes was not tried"
fi
