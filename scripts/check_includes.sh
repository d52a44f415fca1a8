#!/bin/bash
# Checks that headers include only what their room may know. A room is a folder below kyro/, or a
# file that lies above the folders beside it. Each may include itself, the rooms in its line of
# rooms.txt, and nothing else, so that an arrow up or across is refused.
#
# Also: every include of this project is spelled "kyro/…", every header begins with a comment and
# has #pragma once, and the product uses no streams, exceptions, locale or resolver.
set -u
cd "$(dirname "$0")/.." || exit 1

rooms=$(grep -v '^#' scripts/rooms.txt)

bad=0
complain() {
  echo "$1"
  bad=1
}

# The room of kyro/$1: its own line if it has one, else its folder.
room_of() {
  if grep -q "^$1:" <<<"$rooms"; then echo "$1"; else dirname "$1"; fi
}

set -f  # the asterisk of a room's line stands for rooms, not for files
while IFS= read -r file; do
  room=$(room_of "${file#kyro/}")
  allowed=$(sed -n "s|^$room: *||p" <<<"$rooms")
  # `name/*` is a folder with the folders in it.
  for wide in $allowed; do
    [[ $wide == *'/*' ]] || continue
    wide=${wide%/\*}
    allowed+=" $wide $(grep -o "^$wide/[^:]*" <<<"$rooms" | tr '\n' ' ')"
  done
  grep -q "^$room:" <<<"$rooms" || complain "$file: its room is not in scripts/rooms.txt"
  while IFS=: read -r line include; do
    target=$(room_of "${include#kyro/}")
    if [ ! -f "$include" ]; then
      complain "$file:$line: there is no $include"
    elif [ "$target" != "$room" ] && [[ " $allowed " != *" $target "* ]]; then
      complain "$file:$line: $room must not include $target ($include)"
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
