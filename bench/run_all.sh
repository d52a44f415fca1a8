#!/bin/bash
# Index, engine and server beside their peers, one after the other, and a summary of all rows with
# plots in bench/out/COMMIT. `make bench` installs and builds what this needs.
#
#   bench/run_all.sh usual   in under ten minutes on two cores
#   bench/run_all.sh full    every distribution, 1 M to 300 M keys, every part: hours, 24 GiB
#   bench/run_all.sh smoke   seconds: whether everything goes through; its numbers mean nothing
#
# Environment: BUILD, COMMIT, and KYRO_BENCH_OUT for another place than bench/out/COMMIT. What one
# benchmark understands beside that stands in its head; what is set there stays.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
commit=${COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
out=${KYRO_BENCH_OUT:-bench/out/$commit}
profile=${1:-usual}
mkdir -p "$out" || exit 1
export BUILD=$build KYRO_BENCH_OUT=$out

# run NAME=VALUE… COMMAND…: the command with settings, where the environment has no others.
run() {
  local settings=()
  while [[ $1 =~ ^(KYRO_[A-Z_]+)=(.*)$ ]]; do
    [ -n "${!BASH_REMATCH[1]:-}" ] || settings+=("$1")
    shift
  done
  echo "== ${settings[*]} $*"
  env "${settings[@]}" "$@" </dev/null || {
    echo "failed: $*"
    failed=1
  }
}

index() { run KYRO_BENCH_INDEX=rmi,btree,hash "$@" "$build/bench/index_bench"; }
engine() { run "$@" "$build/bench/engine_bench"; }
memory() { run "$@" "$build/bench/memory_bench"; }
http() { run "$@"; }

# For the head of the summary: what numbers without are none.
describe() {
  local load
  read -r load _ </proc/loadavg
  echo "# $commit, \`bench/run_all.sh $profile\`"
  echo
  echo "$(date -u '+%Y-%m-%d %H:%M') UTC; $(nproc) cores," \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)," \
    "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo); $(uname -sr);" \
    "data on $(stat -f -c %T "$build"); g++ $("${CXX:-g++}" -dumpfullversion), \`-O2\`."
  echo "Before it began, $load programs wanted to run: that many neighbours on the same cores."
  dpkg-query -W -f '${Package} ${Version}; ' liblmdb-dev librocksdb-dev libleveldb-dev \
    libabsl-dev nginx-light redis-server memcached libgrpc++-dev nghttp2-server 2>/dev/null
  printf '\n\n'
}

usual() {
  index KYRO_BENCH_N=1M,10M KYRO_BENCH_DIST=uspr,logn,osm KYRO_BENCH_PAGES=4k KYRO_BENCH_SECS=6
  engine KYRO_BENCH_N=5M KYRO_BENCH_SECS=0.8 KYRO_BENCH_UPSERTS=2M \
    KYRO_BENCH_ONLY=bulk_load,get,multi_get,scan,put,upsert,compaction,start
  memory KYRO_BENCH_N=4M KYRO_BENCH_SECS=2
  http KYRO_BENCH_N=1M KYRO_BENCH_SECS=0.3 KYRO_BENCH_ROUNDS=5 KYRO_BENCH_CONNS='1 64' \
    KYRO_BENCH_DIST=uniform bench/http_compare.sh get put tail compaction http2
}

full() {
  index KYRO_BENCH_N=1M,10M,50M,100M,300M KYRO_BENCH_INDEX=all KYRO_BENCH_SECS=60
  engine KYRO_BENCH_N=20M KYRO_BENCH_SECS=3
  memory KYRO_BENCH_N=20M KYRO_BENCH_SECS=20
  http KYRO_BENCH_SECS=1 KYRO_BENCH_ROUNDS=9 KYRO_BENCH_SIZES='1000000 10000000 50000000' \
    bench/http_compare.sh
}

smoke() {
  index KYRO_BENCH_N=20K KYRO_BENCH_QUERIES=20K KYRO_BENCH_PASSES=1 KYRO_BENCH_DIST=uspr \
    KYRO_BENCH_PAGES=4k
  engine KYRO_BENCH_N=20K KYRO_BENCH_SECS=0.02 KYRO_BENCH_SLICES=2 KYRO_BENCH_LOADS=2 \
    KYRO_BENCH_UPSERTS=5K KYRO_BENCH_ONLY=bulk_load,get,multi_get,scan,put,upsert,compaction,start
  memory KYRO_BENCH_N=200K KYRO_BENCH_TIMES=0.4 KYRO_BENCH_SECS=0.04 KYRO_BENCH_SLICES=2
  http KYRO_BENCH_N=3000 KYRO_BENCH_SECS=0.03 KYRO_BENCH_ROUNDS=2 KYRO_BENCH_CONNS='1 8' \
    KYRO_BENCH_DIST=uniform KYRO_BENCH_RATES='1000 2000' KYRO_BENCH_RATE=1000 \
    bench/http_compare.sh get put tail compaction http2
}

failed=0
rm -f "$out"/slices_*.csv "$out"/*.png
describe >"$out/machine.md"
began=$SECONDS
case $profile in
  usual) usual ;;
  full) full ;;
  smoke) smoke ;;
  *) echo "there is no profile $profile" && exit 2 ;;
esac
printf 'It took %d s.\n\n' $((SECONDS - began)) >>"$out/machine.md"
"$build/bench/summary" "$out" || failed=1
if command -v gnuplot >/dev/null; then
  gnuplot -e "dir='$out'" bench/plots.gp || failed=1
else
  echo "gnuplot is not installed (Debian: gnuplot-nox): no plots"
fi
ls "$out"
# Rows of every benchmark are there, and where there is a peer the ratio is a number above 0.
for row in index:uspr_ engine:load engine:get engine:put_always_1 engine:write_amplification \
  http:get_uniform_1x1 http:put_never_1x1 http:get_at_ http:get_beside_compaction; do
  grep -q "^${row/:/,}" "$out/rows.csv" || {
    echo "there is no row $row"
    failed=1
  }
done
awk -F, 'NR > 1 && $12 == 1 && !($8 > 0 && $9 > 0 && $10 >= $9) { print "no ratio:", $0; bad = 1 }
  END { exit bad }' "$out/rows.csv" || failed=1
exit "$failed"
