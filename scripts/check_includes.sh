#!/bin/bash
# Checks that headers include only what their layer may know:
#
#   kyro/base                      nothing but base
#   kyro/index    kyro/net         base and themselves
#   kyro/storage                   base, index
#   kyro/app                       everything below
#   kyro/kyro.h                    base, index, storage
#
# and that every include of this project is spelled "kyro/…", every header has #pragma once, and the
# product uses no streams, exceptions, locale or resolver.
set -u
cd "$(dirname "$0")/.." || exit 1

bad=0
complain() {
  echo "$1"
  bad=1
}

# The layers that a file in layer $1 may include, as an extended regular expression.
allowed_for() {
  case $1 in
    base) echo 'base' ;;
    index) echo 'base|index' ;;
    net) echo 'base|net' ;;
    storage) echo 'base|index|storage' ;;
    app) echo 'base|index|net|storage|app' ;;
    face) echo 'base|index|storage' ;;
    *) echo 'none' ;;
  esac
}

while IFS= read -r file; do
  layer=$(echo "$file" | cut -d/ -f2)
  if [ "$file" = kyro/kyro.h ]; then layer=face; fi
  allowed=$(allowed_for "$layer")
  while IFS=: read -r line include; do
    target=$(echo "$include" | cut -d/ -f2)
    if ! echo "$target" | grep -Eqx "$allowed"; then
      complain "$file:$line: layer $layer must not include $include"
    elif [ ! -f "$include" ]; then
      complain "$file:$line: there is no $include"
    fi
  done < <(grep -n '^#include "kyro/' "$file" | sed -E 's/^([0-9]+):#include "([^"]*)".*/\1:\2/')
  if grep -n '^#include "' "$file" | grep -v '"kyro/'; then
    complain "$file: includes of this project begin with kyro/"
  fi
  if ! grep -q '^#pragma once' "$file"; then complain "$file: has no #pragma once"; fi
  if ! head -n 1 "$file" | grep -q '^//'; then complain "$file: does not begin with a comment"; fi
  if grep -nE '^#include <(iostream|sstream|fstream|iomanip|locale|regex|netdb\.h)>' "$file"; then
    complain "$file: includes what the product does without"
  fi
done < <(find kyro -name '*.h' | sort)

exit "$bad"
