#!/bin/bash
# The part "http2" of http_compare.sh, which reads this file: HTTP/2 and gRPC beside nghttpd, nginx
# and a server of gRPC's own C++ library, asked by h2load and http_bench.
# What it uses and does not set is of http_compare.sh.
# shellcheck disable=SC2154,SC2034

# In plain HTTP/2, each answering 64 bytes: a static file, a constant, a call of KV/Get over a hash
# map by gRPC's own C++ library.
start_http2() {
  command -v nghttpd >/dev/null && {
    printf '%064d' 1 >"$work/file"
    start_on_port nghttpd nghttpd --no-tls -n1 -a 127.0.0.1 -d "$work" PORT
  } || echo "nghttpd is not installed (Debian: nghttp2-server): left out"
  command -v nginx >/dev/null && {
    # shellcheck disable=SC2016
    start_on_port nginx2 bash -c 'cat >"$1/nginx2.conf" <<CONF
daemon off; master_process off; pid $1/nginx2.pid; error_log $1/nginx2.err;
events { worker_connections 2048; }
http { access_log off; keepalive_requests 1000000000; http2_max_concurrent_streams 128;
  server { listen 127.0.0.1:PORT http2; location / { return 200 "$(printf "%064d" 1)"; } } }
CONF
exec nginx -c "$1/nginx2.conf" -p "$1"' bash "$work"
  } || echo "nginx is not installed (Debian: nginx-light): left out"
  if [ -x "$build/bench/grpc_server" ]; then
    start_on_port grpc "$build/bench/grpc_server" PORT "$keys" 64
  else
    echo "gRPC's C++ library is not installed (Debian: libgrpc++-dev, protobuf-compiler-grpc):" \
      "left out"
  fi
}

# measure_h2load ROW SERVER CONNECTIONS STREAMS PATH [FLAG…]: one slice. A request counts as $units.
measure_h2load() {
  local row=$1 name=$2 conns=$3 streams=$4 path=$5 before line
  shift 5
  [ -n "${pids[$name]:-}" ] || return 0
  before=$(awk '{ print $14 + $15 }' "/proc/${pids[$name]}/stat")
  h2load -t1 -c "$conns" -m "$streams" -D "${millis}ms" "$@" "${urls[$name]}$path" >"$work/run" 2>&1
  line=$(awk '
    /^finished in/ { rps = $4 }
    /^requests:/ { done = $6; bad = $10 + $12 }
    END { if (done > 0 && bad == 0) print done, rps }' "$work/run")
  [ -n "$line" ] || {
    echo "h2load $name: wrong answers or none: $(grep -E '^(requests|status)' "$work/run")"
    return
  }
  awk -v b="$before" -v hz="$(getconf CLK_TCK)" -v line="$line" -v conns="$conns" \
    -v streams="$streams" -v units="${units:-1}" '{
      split(line, part, " ")
      printf "RESULT conns=%s pipeline=%s rps=%.0f cpu_us_per_req=%.3f\n", conns, streams,
        part[2] * units, ($14 + $15 - b) / hz * 1e6 / part[1] / units }' \
    "/proc/${pids[$name]}/stat" | slice "$row" "$name"
}

part_http2() {
  command -v h2load >/dev/null || {
    echo "h2load is not installed (Debian: nghttp2-client): left out"
    return
  }
  start_kyro "$work/http2"
  load kyro "$keys"
  start_http2
  local key shape conns streams round policy millis
  millis=$(awk -v s="$secs" 'BEGIN { print int(s * 1000) }')
  key=$(curl -s "${urls[kyro]}/v1/scan?keys_only=1&limit=1" | sed -nE 's/.*"key":([0-9]+).*/\1/p')
  # GetRequest{key}, as a message of a gRPC body.
  python3 - "$key" >"$work/get" <<'PY'
import sys
key, field = int(sys.argv[1]), b"\x08"
while key > 127:
    field, key = field + bytes([key & 127 | 128]), key >> 7
field += bytes([key])
sys.stdout.buffer.write(b"\0" + len(field).to_bytes(4, "big") + field)
PY
  local call=(-d "$work/get" -H 'content-type: application/grpc' -H 'te: trailers')
  for shape in 1:1 1:64 8:16; do
    conns=${shape%:*} streams=${shape#*:}
    for ((round = 0; round < rounds; ++round)); do
      measure_h2load h2_get kyro "$conns" "$streams" "/v1/get_fast/$key"
      measure_h2load h2_get nghttpd "$conns" "$streams" /file
      measure_h2load h2_get nginx2 "$conns" "$streams" /
      measure_h2load grpc_get kyro "$conns" "$streams" /kyrodb.v1.KV/Get "${call[@]}"
      measure_h2load grpc_get grpc "$conns" "$streams" /kyrodb.v1.KV/Get "${call[@]}"
      # The same bytes, answered with the file: what sending them costs h2load is on both sides.
      measure_h2load grpc_get nghttpd "$conns" "$streams" /file "${call[@]}"
    done
    report
  done
  if [ -n "${pids[grpc]:-}" ]; then # calls with keys in no order, and many keys in one call
    protocols[grpc]=grpc
    for shape in 1:64 8:16; do
      local flags=(--concurrency "${shape%:*}" --pipeline "${shape#*:}" --protocol grpc)
      for ((round = 0; round < rounds; ++round)); do
        measure grpc_get_uniform kyro "${flags[@]}"
        measure grpc_get_uniform grpc "${flags[@]}"
      done
      report
    done
  fi
  for ((round = 0; round < rounds; ++round)); do
    measure grpc_mget_1000 kyro --protocol grpc --endpoint mget --mget-keys 1000 --concurrency 1
  done
  report
  stop kyro nghttpd nginx2 grpc
  rm -rf "$work/http2"
  # A thousand puts of 64 bytes on a stream.
  python3 - >"$work/puts" <<'PY'
import sys
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
for i in range(1000):
    put = b"\x08" + varint(i * 7919 + 1) + b"\x12" + varint(64) + b"v" * 64
    sys.stdout.buffer.write(b"\0" + len(put).to_bytes(4, "big") + put)
PY
  call[1]="$work/puts"
  millis=$((millis < 300 ? 300 : millis)) # a request is a thousand of them
  for policy in always interval; do
    start_kyro "$work/http2" --fsync "${policy/interval/interval:50}"
    for ((round = 0; round < rounds; ++round)); do
      units=1000 measure_h2load "grpc_put_stream_$policy" kyro 1 1 /kyrodb.v1.KV/PutStream \
        "${call[@]}"
    done
    report
    stop kyro
    rm -rf "$work/http2"
  done
}
