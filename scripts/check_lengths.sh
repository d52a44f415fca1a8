#!/bin/bash
# Checks that no source file is longer than 500 lines, and no line longer than 100 characters.
set -u
cd "$(dirname "$0")/.." || exit 1

bad=0
while IFS= read -r file; do
  lines=$(wc -l <"$file")
  if [ "$lines" -gt 500 ]; then
    echo "$file: $lines lines, at most 500"
    bad=1
  fi
  # Characters, not bytes; raw string literals of tests may be long.
  if LC_ALL=C.UTF-8 grep -nE '^.{101,}' "$file" | grep -v 'R"' | sed "s|^|$file:|" | grep .; then
    bad=1
  fi
done < <(find . -path ./build -prune -o -path ./.git -prune -o \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.sh' \) -print | sort)

exit "$bad"
