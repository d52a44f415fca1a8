#!/bin/bash
# What a request costs the server, counted and not timed: instructions and allocations (callgrind)
# and system calls (strace), for a read of one key over HTTP/1.1, over HTTP/2 and as a call of gRPC,
# with h2load as the client. On a busy machine this says what a clock cannot.
#
#   bench/request_cost.sh [BINARY]     (build/kyrodb)
#
# Each number is the difference between two runs that differ by $requests requests, divided by that.
# A shape is CONNECTIONSxSTREAMS (over HTTP/1.1: pipelined requests). Allocations are counted where
# the binary has symbols (link it without -s); the value has 64 bytes.
#
# Environment: KYRO_COST_SHAPES ("1x1 1x64 8x16"), KYRO_COST_REQUESTS (10000).
set -u
cd "$(dirname "$0")/.." || exit 1
binary=${1:-build/kyrodb}
shapes=${KYRO_COST_SHAPES:-1x1 1x64 8x16}
requests=${KYRO_COST_REQUESTS:-10000}
for tool in h2load valgrind strace; do
  command -v "$tool" >/dev/null || {
    echo "$tool is not installed: nothing is counted"
    exit 0
  }
done
work=$(mktemp -d) || exit 1
server=
trap '[ -z "$server" ] || kill -KILL "$server"; rm -rf "$work"' EXIT
printf '\0\0\0\0\2\10\7' >"$work/get" # GetRequest{key: 7}, as a message of a gRPC body
printf '%064d' 7 >"$work/value"

# Starts "$@ BINARY serve …", has h2load ask $1 times with the flags in $load, and ends it.
serve_and_ask() {
  local count=$1 address status
  shift
  rm -rf "$work/data"
  : >"$work/log" # the last one's address must not be taken for this one's
  "$@" "$binary" serve 127.0.0.1 0 --data-dir "$work/data" --threads 1 --fsync never \
    2>"$work/log" &
  server=$!
  for ((i = 0; i < 600; ++i)); do
    address=$(sed -nE 's/.*serving address=([0-9.:]+).*/\1/p' "$work/log")
    [ -z "$address" ] || break
    sleep 0.1
  done
  curl -sS -o /dev/null -T "$work/value" "http://$address/v1/kv/7"
  h2load -t1 -n "$count" -c "$conns" -m "$streams" "${load[@]}" "http://$address$path" \
    >"$work/load" 2>&1
  grep -q " $count succeeded" "$work/load" ||
    echo "wrong answers: $(grep ^requests "$work/load")" >&2
  # Valgrind is the server itself; strace ends when its child does.
  pkill -TERM -P "$server" 2>/dev/null || kill -TERM "$server"
  wait "$server"
  status=$?
  server=
  return "$status"
}

# How many instructions and how many calls of malloc.
callgrind() {
  serve_and_ask "$1" valgrind --tool=callgrind --callgrind-out-file="$work/calls"
  awk '
    /^c?fn=\(/ {
      id = $1
      sub(/^c?fn=/, "", id)
      if (NF > 1) name[id] = $2
      callee = id
    }
    /^calls=/ { calls[callee] += substr($1, 7) }
    /^(summary|totals):/ { instructions = $2 }
    END {
      for (id in calls) if (name[id] == "malloc") mallocs += calls[id]
      print instructions, mallocs
    }' "$work/calls"
}
system_calls() {
  serve_and_ask "$1" strace -f -c -o "$work/calls"
  awk '$NF == "total" { print $4 }' "$work/calls"
}

# per_request COUNTER DIGITS…: of each number that it prints, how much more a request makes it.
per_request() {
  local counter=$1 few many
  shift
  few=$("$counter" 2000)
  many=$("$counter" $((2000 + requests)))
  awk -v few="$few" -v many="$many" -v n="$requests" -v digits="$*" 'BEGIN {
    count = split(digits, precision, " ")
    split(few, a, " ")
    split(many, b, " ")
    for (i = 1; i <= count; ++i) {
      if (a[i] == "") printf " %14s", "-"
      else printf " %14.*f", precision[i], (b[i] - a[i]) / n
    }
  }'
}

printf '%-6s %-6s %14s %14s %14s\n' what shape instructions allocations 'system calls'
for what in h1 h2 grpc; do
  path=/v1/get_fast/7 load=()
  [ "$what" != h1 ] || load=(--h1)
  [ "$what" != grpc ] || {
    path=/kyrodb.v1.KV/Get
    load=(-d "$work/get" -H 'content-type: application/grpc' -H 'te: trailers')
  }
  for shape in $shapes; do
    conns=${shape%x*} streams=${shape#*x}
    printf '%-6s %-6s%s%s\n' "$what" "$shape" "$(per_request callgrind 0 3)" \
      "$(per_request system_calls 3)"
  done
done
