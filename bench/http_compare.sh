#!/bin/bash
# Reads over HTTP, beside the same load on nginx `return 200` and on a bare epoll responder: wrk
# with one thread and 64 connections, rounds interleaved, medians printed.
#
#   bench/http_compare.sh [SECONDS_PER_ROUND] [ROUNDS]
#
# Needs wrk and nginx (Debian: wrk, nginx-light); what is missing is left out with a sentence. Rows:
#   RESULT bench=get_fast server=<kyro|nginx|epoll> conns=64 rps=<n> cpu_us_per_req=<x> p99_us=<n>
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-5}
rounds=${2:-3}
build=${BUILD:-build}
work=$(mktemp -d)
declare -A pids=() urls=()

cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  wait 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT

if ! command -v wrk >/dev/null; then
  echo "wrk is not installed (Debian: wrk): nothing was measured"
  exit 1
fi

# Waits until a file has a line that matches, for at most ten seconds.
await() {
  for ((i = 0; i < 200; ++i)); do
    grep -qE "$2" "$1" 2>/dev/null && return 0
    sleep 0.05
  done
  echo "no answer from the server of $1"
  return 1
}

"$build/kyrodb" serve 127.0.0.1 0 --data-dir "$work/data" --threads 1 2>"$work/kyro.log" &
pids[kyro]=$!
await "$work/kyro.log" 'serving' || exit 1
port=$(sed -nE 's/.*address=127\.0\.0\.1:([0-9]+).*/\1/p' "$work/kyro.log")
for key in $(seq 1 1000); do
  printf '{"key":%d,"value":"%064d"}\n' "$key" "$key"
done | "$build/kyrodbctl" -e "http://127.0.0.1:$port" import - 2>/dev/null
curl -s -X POST "http://127.0.0.1:$port/v1/compact" >/dev/null
urls[kyro]="http://127.0.0.1:$port/v1/get_fast/500"

if command -v nginx >/dev/null; then
  nginx_port=$(shuf -i 20000-32000 -n 1) # below the range the kernel gives out
  cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.err;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000000;
  server { listen 127.0.0.1:$nginx_port; location / { return 200 "$(printf '%064d' 500)"; } } }
CONF
  nginx -c "$work/nginx.conf" -p "$work" 2>/dev/null &
  pids[nginx]=$!
  urls[nginx]="http://127.0.0.1:$nginx_port/"
else
  echo "nginx is not installed (Debian: nginx-light): left out"
fi

if [ -x "$build/bench/epoll_responder" ]; then
  epoll_port=$(shuf -i 20000-32000 -n 1)
  "$build/bench/epoll_responder" "$epoll_port" 1 64 &
  pids[epoll]=$!
  until curl -s -o /dev/null "http://127.0.0.1:$epoll_port/"; do sleep 0.05; done
  urls[epoll]="http://127.0.0.1:$epoll_port/"
fi

cpu_ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR + 1) / 2)]}'; }

echo "machine: $(nproc) cores, $(uname -sr); commit $(git rev-parse --short HEAD 2>/dev/null)"
for ((round = 0; round <= rounds; ++round)); do
  for name in "${!urls[@]}"; do
    before=$(cpu_ticks "${pids[$name]}")
    out=$(wrk -t1 -c64 -d"${seconds}s" --latency "${urls[$name]}")
    after=$(cpu_ticks "${pids[$name]}")
    [ "$round" -eq 0 ] && continue # warm-up
    requests=$(awk '/requests in/ {print $1}' <<<"$out")
    awk '/Requests\/sec/ {print $2}' <<<"$out" >>"$work/$name.rps"
    awk '/99%/ {us = $2 ~ /ms$/ ? 1000 : $2 ~ /us$/ ? 1 : 1000000; print $2 * us}' <<<"$out" \
      >>"$work/$name.p99"
    awk -v t=$((after - before)) -v n="$requests" 'BEGIN {printf "%.3f\n", t * 10000 / n}' \
      >>"$work/$name.cpu"
    grep -q 'Non-2xx' <<<"$out" && echo "$name: $(grep 'Non-2xx' <<<"$out")"
  done
done
for name in "${!urls[@]}"; do
  echo "RESULT bench=get_fast server=$name conns=64 rps=$(median <"$work/$name.rps")" \
    "cpu_us_per_req=$(median <"$work/$name.cpu") p99_us=$(median <"$work/$name.p99")"
done
