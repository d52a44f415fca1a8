#!/bin/bash
# The server over HTTP beside a bare epoll responder (the limit that kernel and client set), nginx
# `return 200`, Redis and memcached, all asked by the same client, bench/http_bench (in the part
# "wrk" by wrk, in "http2" by h2load). Every server has one thread; servers take turns, a short
# slice each (bench/slices.h).
#
#   bench/http_compare.sh [PART…]
#     parts: get wrk http2 put tail compaction idle sizes (default: all of these), cluster;
#     grpc is http2
#
# Environment:
#   KYRO_BENCH_N       keys of the data set, 64-byte values (1000000; K and M are understood)
#   KYRO_BENCH_SECS    seconds of a slice (0.7: about six minutes in all)
#   KYRO_BENCH_ROUNDS  rounds (3)
#   KYRO_BENCH_CONNS   connections of the part "get" ("1 64 512")
#   KYRO_BENCH_DIST    distributions of the part "get" ("uniform zipf")
#   KYRO_BENCH_SIZES   data sizes of the part "sizes" ("1000000"; for a plot over sizes
#                      "1000000 10000000 50000000")
#   KYRO_BENCH_RATE    requests per second of the parts compaction and idle (10000)
#   KYRO_BENCH_RATES   and those of the part "tail" ("10000 20000 40000 80000")
#   KYRO_BENCH_IDLE    idle connections of the part "idle" (10000)
#   KYRO_BENCH_COLD=1  part "sizes" also from a dropped page cache
#   KYRO_BENCH_OUT     where slices_http.csv goes, and http_rounds.csv, all that http_bench says of
#                      each of its runs (bench/out)
#
# What is not installed is left out with a sentence; scripts/install-bench-deps.sh installs Debian's
# packages. A row is called BENCH_CONNECTIONSxPIPELINE.
set -u
cd "$(dirname "$0")/.." || exit 1
keys=$(numfmt --from=si "${KYRO_BENCH_N:-1000000}") || exit 2
secs=${KYRO_BENCH_SECS:-0.7}
rounds=${KYRO_BENCH_ROUNDS:-3}
sizes=${KYRO_BENCH_SIZES:-1000000}
rate=${KYRO_BENCH_RATE:-10000}
idle=${KYRO_BENCH_IDLE:-10000}
out=${KYRO_BENCH_OUT:-bench/out}
build=${BUILD:-build}
client=$build/bench/http_bench
slices=$out/slices_http.csv
parts=${*:-get wrk http2 put tail compaction idle sizes}

mkdir -p "$out" || exit 1
work=$(mktemp -d "$PWD/$build/bench/work.XXXXXX") || exit 1 # not /tmp, which may be memory
declare -A pids=() urls=() protocols=()
ulimit -n "$(ulimit -Hn)"

# stop NAME…: ends servers that this script has started.
stop() {
  local name
  for name in "$@"; do
    [ -n "${pids[$name]:-}" ] || continue
    kill "${pids[$name]}" 2>/dev/null
    wait "${pids[$name]}" 2>/dev/null
    unset "pids[$name]" "urls[$name]"
  done
}
cleanup() {
  stop "${!pids[@]}"
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# ---- servers ----

# await PID COMMAND…: until the command succeeds, for ten seconds, while the process lives.
await() {
  local pid=$1
  shift
  for ((i = 0; i < 200; ++i)); do
    "$@" >/dev/null 2>&1 && return 0
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start_on_port NAME COMMAND…: runs it with PORT replaced by a free one below the kernel's range.
start_on_port() {
  local name=$1 port pid
  shift
  for ((try = 0; try < 5; ++try)); do
    port=$(shuf -i 20000-32000 -n 1)
    listens "$port" && continue
    "${@//PORT/$port}" >"$work/$name.log" 2>&1 &
    pid=$!
    pids[$name]=$pid
    urls[$name]=http://127.0.0.1:$port
    await "$pid" listens "$port" && return 0
    stop "$name"
  done
  echo "$name did not start: $(tail -n 1 "$work/$name.log")"
  return 1
}

# start_kyro DIR FLAG…
start_kyro() {
  local dir=$1
  shift
  : >"$work/kyro.log" # the last one's address must not be taken for this one's
  "$build/kyrodb" serve 127.0.0.1 0 --data-dir "$dir" --threads 1 --max-connections 20000 "$@" \
    2>"$work/kyro.log" &
  pids[kyro]=$!
  protocols[kyro]=h1
  if ! await "${pids[kyro]}" grep -q 'serving address' "$work/kyro.log"; then
    echo "kyrodb did not start: $(tail -n 1 "$work/kyro.log")"
    exit 1
  fi
  urls[kyro]=http://$(sed -nE 's/.*serving address=([0-9.:]+).*/\1/p' "$work/kyro.log")
}

start_constants() {
  protocols[epoll]=h1 protocols[nginx]=h1
  start_on_port epoll "$build/bench/epoll_responder" PORT 1 64
  command -v nginx >/dev/null || {
    echo "nginx is not installed (Debian: nginx-light): left out"
    return
  }
  # A file of its own, since nginx takes the port from nowhere else.
  # shellcheck disable=SC2016
  start_on_port nginx bash -c 'cat >"$1/nginx.conf" <<CONF
daemon off; master_process off; pid $1/nginx.pid; error_log $1/nginx.err;
events { worker_connections 2048; }
http { access_log off; keepalive_requests 1000000000;
  server { listen 127.0.0.1:PORT; location / { return 200 "$(printf "%064d" 1)"; } } }
CONF
exec nginx -c "$1/nginx.conf" -p "$1"' bash "$work"
}

# start_redis FLAG…
start_redis() {
  command -v redis-server >/dev/null || {
    echo "redis-server is not installed (Debian: redis-server): left out"
    return 1
  }
  protocols[redis]=resp
  rm -rf "$work/redis" && mkdir "$work/redis"
  start_on_port redis redis-server --port PORT --bind 127.0.0.1 --dir "$work/redis" --save '' \
    --maxclients 20000 "$@"
}

start_memcached() {
  command -v memcached >/dev/null || {
    echo "memcached is not installed (Debian: memcached): left out"
    return 1
  }
  local user=()
  [ "$(id -u)" -eq 0 ] && user=(-u root)
  protocols[memcached]=memcache
  # Enough memory that nothing is evicted.
  start_on_port memcached memcached "${user[@]}" -l 127.0.0.1 -p PORT -t 1 -c 20000 \
    -m $((keys / 2500 + 256))
}

# load NAME KEYS
load() {
  "$client" --base "${urls[$1]}" --protocol "${protocols[$1]}" --load-n "$2" --load-only |
    sed "s/^/$1: /" || exit 1
}

# ---- measuring ----

# slice ROW SERVER: what the RESULT line on stdin says, as a slice of round $round of a row that
# measures rates or, where requests are due at fixed times, latencies.
slice() {
  local side=peer
  case $2 in kyro) side=ours ;; epoll) side=limit ;; esac
  awk -v row="$1" -v side="$side" -v name="$2" -v round="$round" -v due="${due:-}" '
    /^RESULT/ {
      for (i = 2; i <= NF; ++i) {
        split($i, part, "=")
        value[part[1]] = part[2]
      }
      row = row "_" value["conns"] "x" value["pipeline"]
      if (due == "") {
        print_one("per_s", "rps")
        print_one("cpu_us", "cpu_us_per_req")
      }
      print_one("p50_us", "p50_us")
      print_one("p99_us", "p99_us")
      print_one("p999_us", "p999_us")
    }
    function print_one(metric, field) {
      if (value[field] > 0)
        print "http," row "," metric "," side "," name "," round "," value[field]
    }' >>"$slices"
}

# measure ROW SERVER FLAG…: one slice, under the server's name or that in $as.
measure() {
  local row=$1 name=$2 check=()
  shift 2
  [ -n "${pids[$name]:-}" ] || return 0
  [[ $name == epoll || $name == nginx ]] && check=(--no-check)
  "$client" --base "${urls[$name]}" --protocol "${protocols[$name]}" --skip-load \
    --name "$row" --server "${as:-$name}" --server-pid "${pids[$name]}" "${check[@]}" \
    --load-n "$keys" --read-seconds "$secs" --warmup-seconds 0.1 \
    --out-csv "$out/http_rounds.csv" "$@" >"$work/run" 2>&1 || tail -n 3 "$work/run"
  slice "$row" "${as:-$name}" <"$work/run"
}

# Prints the rows of what was measured since the last call.
printed=1
report() {
  tail -n "+$((printed + 1))" "$slices" | "$build/bench/summary" --print
  printed=$(wc -l <"$slices")
}

# ---- parts ----

part_get() {
  start_kyro "$work/kyro"
  load kyro "$keys"
  start_constants
  start_redis --appendonly no && load redis "$keys"
  start_memcached && load memcached "$keys"
  local dist conns pipeline round name
  for dist in ${KYRO_BENCH_DIST:-uniform zipf}; do
    for conns in ${KYRO_BENCH_CONNS:-1 64 512}; do
      for pipeline in 1 16; do
        local flags=(--concurrency "$conns" --pipeline "$pipeline" --dist "$dist")
        for ((round = 0; round < rounds; ++round)); do
          for name in kyro epoll nginx redis memcached; do
            # A constant does not depend on the key.
            [[ $dist == zipf && ($name == epoll || $name == nginx) ]] && continue
            measure "get_$dist" "$name" "${flags[@]}"
          done
          measure "lookup_fast_$dist" kyro "${flags[@]}" --endpoint lookup_fast
        done
        report
      done
    done
  done
  stop kyro epoll nginx redis memcached
  rm -rf "$work/kyro"
}

# measure_wrk SERVER PIPELINE: one round of one row. wrk knows HTTP only.
measure_wrk() {
  local name=$1 pipeline=$2 before line hertz requests rest
  [ -n "${pids[$name]:-}" ] || return 0
  hertz=$(getconf CLK_TCK)
  before=$(awk '{ print $14 + $15 }' "/proc/${pids[$name]}/stat")
  line=$(KYRO_BENCH_DEPTH=$pipeline KYRO_BENCH_KEYS="$work/keys" wrk -t1 -c64 -d "${wrk_secs}s" \
    -s bench/wrk_get.lua "${urls[$name]}" | sed -n 's/^WRK //p')
  # requests=<n> bad=<n> rps=<x> p50_us=<x> …
  [[ $line =~ requests=([1-9][0-9]*)\ bad=0\ (rps=[0-9]+)\ (.*)$ ]] || {
    echo "wrk $name: wrong answers or none: $line"
    return
  }
  requests=${BASH_REMATCH[1]} rest=${BASH_REMATCH[3]} line=${BASH_REMATCH[2]}
  # Of pipelined requests wrk counts, but its percentiles are none.
  [ "$pipeline" = 1 ] || rest="p50_us=- p99_us=- p999_us=-"
  awk -v b="$before" -v hz="$hertz" -v n="$requests" -v depth="$pipeline" -v rps="$line" \
    -v rest="$rest" '{
      printf "RESULT conns=64 pipeline=%s %s cpu_us_per_req=%.3f %s\n", depth, rps,
        ($14 + $15 - b) / hz * 1e6 / n, rest }' \
    "/proc/${pids[$name]}/stat" | slice wrk_get "$name"
}

part_wrk() {
  command -v wrk >/dev/null || {
    echo "wrk is not installed (Debian: wrk): left out"
    return
  }
  start_kyro "$work/wrk"
  load kyro "$keys"
  start_constants
  # In no order; the last line, which has no key, is left out.
  curl -s -H 'Accept: application/x-ndjson' "${urls[kyro]}/v1/scan?keys_only=1&limit=262144" |
    sed -nE 's/^\{"key":([0-9]+),.*/\1/p' | shuf >"$work/keys"
  local pipeline round name wrk_secs
  wrk_secs=$(awk -v s="$secs" 'BEGIN { print int(s + 0.999) }')
  for pipeline in 1 16; do
    for ((round = 0; round < rounds; ++round)); do
      for name in kyro epoll nginx; do measure_wrk "$name" "$pipeline"; done
    done
    report
  done
  stop kyro epoll nginx
  rm -rf "$work/wrk"
}

# HTTP/2 and gRPC: part_http2.
# shellcheck source=bench/http2_part.sh
. bench/http2_part.sh
# Replicas on etcd: part_cluster.
# shellcheck source=bench/cluster_part.sh
. bench/cluster_part.sh

part_put() {
  local pair policy conns round some=$((keys < 200000 ? keys : 200000))
  for pair in always:always interval:everysec never:no; do
    policy=${pair%%:*}
    start_kyro "$work/put" --fsync "${policy/interval/interval:1000}"
    load kyro "$some"
    start_redis --appendonly yes --appendfsync "${pair##*:}" && load redis "$some"
    for conns in 1 64; do
      for ((round = 0; round < rounds; ++round)); do
        for name in kyro redis; do
          measure "put_$policy" "$name" --endpoint put --concurrency "$conns" --load-n "$some"
        done
      done
      report
    done
    stop kyro redis
    rm -rf "$work/put"
  done
}

# Compactions, each with something to merge, until the file is gone.
keep_compacting() {
  local url=$1 n=0
  while [ -e "$work/compacting" ]; do
    curl -s -o /dev/null -X PUT --data-binary "$n" "$url/v1/kv/$n" &&
      curl -s -o /dev/null -X POST "$url/v1/compact"
    n=$((n + 1))
    echo "$n" >"$work/compactions"
  done
}

# Latencies at rates that grow, until somebody cannot follow.
part_tail() {
  start_kyro "$work/tail"
  load kyro "$keys"
  start_redis --appendonly no && load redis "$keys"
  start_memcached && load memcached "$keys"
  local round name rate due=1
  for rate in ${KYRO_BENCH_RATES:-10000 20000 40000 80000}; do
    for ((round = 0; round < rounds; ++round)); do
      for name in kyro redis memcached; do
        measure "get_at_$rate" "$name" --concurrency 64 --rate "$rate"
      done
    done
    report
  done
  stop kyro redis memcached
  rm -rf "$work/tail"
}

part_compaction() {
  start_kyro "$work/compaction"
  load kyro "$keys"
  local round compactor due=1 row=get_beside_compaction
  local flags=(--concurrency 64 --rate "$rate" --read-seconds "$(awk "BEGIN { print 4 * $secs }")")
  for ((round = 0; round < rounds; ++round)); do
    as=quiet measure "$row" kyro "${flags[@]}"
    touch "$work/compacting"
    keep_compacting "${urls[kyro]}" &
    compactor=$!
    measure "$row" kyro "${flags[@]}"
    rm "$work/compacting"
    wait "$compactor"
    echo "compactions of $keys keys during the reads: $(cat "$work/compactions")"
  done
  report
  stop kyro
  rm -rf "$work/compaction"
}

part_idle() {
  start_kyro "$work/idle"
  load kyro "$keys"
  # Opening and closing ten thousand connections takes the server a while.
  local round due=1 flags=(--concurrency 64 --rate "$rate" --warmup-seconds 2)
  for ((round = 0; round < rounds; ++round)); do
    as=none_idle measure "get_beside_idle_$idle" kyro "${flags[@]}"
    measure "get_beside_idle_$idle" kyro "${flags[@]}" --idle-connections "$idle"
  done
  report
  stop kyro
  rm -rf "$work/idle"
}

part_sizes() {
  local size round all=$keys
  for size in $sizes; do
    keys=$size
    start_kyro "$work/sizes"
    load kyro "$size"
    for ((round = 0; round < rounds; ++round)); do
      measure "get_of_$size" kyro --concurrency 64
    done
    if [ "${KYRO_BENCH_COLD:-0}" = 1 ]; then
      for ((round = 0; round < rounds; ++round)); do
        stop kyro
        "$client" --drop-cache "$work/sizes"
        start_kyro "$work/sizes"
        measure "get_cold_of_$size" kyro --concurrency 64 --regime cold
      done
    fi
    report
    stop kyro
    rm -rf "$work/sizes"
  done
  keys=$all
}

echo "machine: $(nproc) cores, $(uname -sr); data on $(stat -f -c %T "$work");" \
  "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown);" \
  "$rounds rounds of $secs s, $keys keys of 64-byte values"
echo "suite,row,metric,side,name,round,value" >"$slices"
rm -f "$out/http_rounds.csv"
for part in $parts; do
  case $part in
    get | wrk | http2 | put | tail | compaction | idle | sizes | cluster) "part_$part" ;;
    grpc) part_http2 ;;
    *) echo "there is no part $part" && exit 2 ;;
  esac
done
