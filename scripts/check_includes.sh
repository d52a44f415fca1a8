#!/bin/bash
# Checks that headers include only what their room may know. A room is a folder below kyro/, or a
# file that lies above the folders beside it. Each may include itself, the rooms in its line below,
# and nothing else, so that an arrow up or across is refused unless it is listed here.
#
# Also: every include of this project is spelled "kyro/…", every header begins with a comment and
# has #pragma once, and the product uses no streams, exceptions, locale or resolver.
set -u
cd "$(dirname "$0")/.." || exit 1

# room: what it may include, from the bottom of the house to the top. `base` and `base/x.h` are the
# folder and one file of it; a name stands for the folder itself, not for the folders in it.
rooms='
base:
json: base
net/io: base
net/http: base net/io
net/http1: base net/io net/http
net/server: base net/io net/http net/http1
net/client: base net/io net/http net/http1
index: base
storage/record.h: base
storage/fs: base
storage/log: base storage/fs storage/record.h
storage/delta: base storage/record.h
storage/run: base index storage/fs storage/record.h
storage/manifest.h: base json storage/log storage/run
storage/view.h: storage/delta storage/run storage/log
storage/options.h: base index storage/fs storage/log
storage/engine_stats.h: base
storage/engine_state.h: base storage/fs storage/manifest.h storage/options.h storage/view.h storage/engine_stats.h
storage/store_copy.h: base storage/fs storage/log storage/manifest.h
storage/outcome.h: base storage/store_copy.h
storage/read: base storage/log storage/delta storage/run storage/view.h storage/engine_state.h
storage/write: base storage/log storage/record.h storage/engine_state.h
storage/backup.h: storage/engine_state.h storage/store_copy.h storage/offline
storage/background: base storage/run storage/read storage/write storage/options.h storage/engine_state.h storage/outcome.h storage/backup.h
storage/recovery.h: base storage/log storage/engine_state.h storage/background storage/store_copy.h
storage/engine.h: base storage/fs storage/log storage/read storage/write storage/background storage/engine_state.h storage/outcome.h storage/recovery.h
storage/offline: base index storage/fs storage/log storage/run storage/manifest.h storage/background storage/store_copy.h
kyro.h: base storage/engine.h storage/options.h
cli: base
client: base json cli net/client storage/fs
tools: base json cli storage/fs storage/backup.h storage/offline
server/route_table.h: net/http
server/routes: base json net/http storage/record.h storage/view.h storage/read storage/write storage/engine.h
server/observe: base cli net/io net/http storage/run storage/engine.h server/route_table.h server/routes
server: base json cli net/io net/http net/server storage/engine.h storage/options.h server/route_table.h server/routes server/observe
'

bad=0
complain() {
  echo "$1"
  bad=1
}

# The room of kyro/$1: its own line if it has one, else its folder.
room_of() {
  if grep -q "^$1:" <<<"$rooms"; then echo "$1"; else dirname "$1"; fi
}

while IFS= read -r file; do
  room=$(room_of "${file#kyro/}")
  allowed=$(sed -n "s|^$room: *||p" <<<"$rooms")
  grep -q "^$room:" <<<"$rooms" || complain "$file: its room is not in $0"
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
