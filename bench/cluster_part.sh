#!/bin/bash
# The part "cluster" of http_compare.sh, which reads this file: three replicas on three members of
# etcd beside etcd itself and Redis with `WAIT 1` (a master and two replicas), all on this machine.
# Everybody has all of it: nine servers that rest while one of them is asked.
# What it uses and does not set is of http_compare.sh, names in brackets are keys of its maps.
# shellcheck disable=SC2154,SC2034,SC2004

members=() # where those of etcd listen to clients

# free_port: one below the kernel's range that nobody listens on.
free_port() {
  local port
  for ((;;)); do
    port=$(shuf -i 20000-32000 -n 1)
    listens "$port" || break
  done
  echo "$port"
}

start_etcd() {
  command -v etcd >/dev/null || {
    echo "etcd is not installed (Debian: etcd-server): left out"
    return 1
  }
  local i peers=() cluster=
  for i in 0 1 2; do
    members[i]=http://127.0.0.1:$(free_port)
    peers[i]=http://127.0.0.1:$(free_port)
    cluster+=${cluster:+,}m$i=${peers[i]}
  done
  for i in 0 1 2; do
    etcd --name "m$i" --data-dir "$work/etcd$i" --listen-client-urls "${members[i]}" \
      --advertise-client-urls "${members[i]}" --listen-peer-urls "${peers[i]}" \
      --initial-advertise-peer-urls "${peers[i]}" --initial-cluster "$cluster" \
      --auto-compaction-mode revision --auto-compaction-retention 1000 \
      --quota-backend-bytes 4294967296 >"$work/etcd$i.log" 2>&1 &
    pids[etcd$i]=$!
  done
  for i in 0 1 2; do
    await "${pids[etcd$i]}" grep -q 'ready to serve client requests' "$work/etcd$i.log" || {
      echo "etcd did not start: $(tail -n 1 "$work/etcd$i.log")"
      return 1
    }
  done
  leader=$(find_leader)
  urls[etcd]=${members[leader]} pids[etcd]=${pids[etcd$leader]} protocols[etcd]=etcd
}

# find_leader: its number.
find_leader() {
  local i status
  for i in 0 1 2; do
    status=$(curl -s -d '{}' "${members[i]}/v3/maintenance/status")
    [[ $status =~ \"member_id\":\"([0-9]+)\".*\"leader\":\"([0-9]+)\" ]] &&
      [ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ] && echo "$i" && return
  done
  echo 0
}

# start_node NAME FLAG…: a server on the directory of that name, until it is ready.
start_node() {
  local name=$1
  shift
  : >"$work/$name.log"
  "$build/kyrodb" serve 127.0.0.1 0 --data-dir "$work/$name" --threads 1 "$@" \
    2>"$work/$name.log" &
  pids[$name]=$! protocols[$name]=h1
  await "${pids[$name]}" grep -q 'serving address' "$work/$name.log" || {
    echo "kyrodb did not start: $(tail -n 1 "$work/$name.log")"
    exit 1
  }
  urls[$name]=http://$(sed -nE 's/.*serving address=([0-9.:]+).*/\1/p' "$work/$name.log")
  for ((i = 0; i < 3000; ++i)); do
    curl -sf -o /dev/null "${urls[$name]}/ready" && return
    sleep 0.02
  done
  echo "$name does not become ready: $(curl -s "${urls[$name]}/ready")"
}
start_replica() {
  start_node "$1" --log "$(IFS=, && echo "${members[*]}")/bench"
}

start_waiting_redis() {
  start_redis --appendonly yes --appendfsync everysec || return
  protocols[redis]=resp-wait
  local name
  for name in redis2 redis3; do
    mkdir -p "$work/$name"
    start_on_port "$name" redis-server --port PORT --bind 127.0.0.1 --dir "$work/$name" --save '' \
      --appendonly yes --appendfsync everysec --replicaof 127.0.0.1 "${urls[redis]##*:}"
  done
  # shellcheck disable=SC2016
  await "${pids[redis]}" bash -c 'redis-cli -p "$1" wait 2 1000 | grep -qx 2' bash \
    "${urls[redis]##*:}" || echo "Redis' replicas do not follow"
}

# one_slice ROW METRIC VALUE: what is ours only.
one_slice() {
  echo "http,$1,$2,ours,kyro,$round,$3" >>"$slices"
}
metric() { curl -s "${urls[$1]}/metrics" | awk -v name="$2" '$1 == name { print $2 }'; }
next_offset() {
  curl -s "${urls[$1]}/v1/offset" | sed -nE 's/^\{"offset":([0-9]+).*/\1/p'
}
now_ms() { date +%s%3N; }

# load_batches: all keys through the first replica; records a second.
load_batches() {
  "$client" --base "${urls[kyro]}" --load-n "$keys" --load-only --load-with batch |
    sed -nE 's/.* s, ([0-9]+) keys\/s/\1/p'
}

# Batches of a thousand records to the first replica, ten a second, until the file is gone.
keep_writing() {
  while [ -e "$work/writing" ]; do
    curl -s -o /dev/null -H 'Content-Type: application/x-ndjson' --data-binary "@$work/batch" \
      "${urls[kyro]}/v1/batch"
    sleep 0.1
  done
}

measure_following() {
  local round began before name
  for ((n = 0; n < 1000; ++n)); do
    printf '{"op":"put","key":%d,"value":"%064d"}\n' $((n + 1000000000)) "$n"
  done >"$work/batch"
  start_node plain --fsync interval:100
  load plain "$keys"
  : >"$work/writing"
  keep_writing &
  local writer=$!
  began=$(now_ms) before=$(next_offset kyro)
  for ((round = 0; round < rounds; ++round)); do
    as=kyro measure cluster_get_following kyro2 --concurrency 64
    measure cluster_get_following plain --concurrency 64
    as=kyro due=1 measure "cluster_get_following_at_$rate" kyro2 --concurrency 64 --rate "$rate"
    due=1 measure "cluster_get_following_at_$rate" plain --concurrency 64 --rate "$rate"
  done
  echo "it followed $((($(next_offset kyro) - before) * 1000 / ($(now_ms) - began))) records/s"
  rm "$work/writing"
  wait "$writer"
  stop plain
}

# A replica that was away while all keys were written once more.
measure_catch_up() {
  local began before took round=0
  stop kyro3
  before=$(metric kyro kyrodb_log_bytes)
  load_batches >/dev/null
  local bytes=$(($(metric kyro kyrodb_log_bytes) - before)) end
  end=$(next_offset kyro)
  began=$(now_ms)
  start_replica kyro3
  until [ "$(next_offset kyro3)" -ge "$end" ]; do sleep 0.01; done
  took=$(($(now_ms) - began))
  echo "$keys records, $bytes bytes of log: ready after $took ms"
  one_slice cluster_catch_up mb_per_s $((bytes / 1000 / took))
  one_slice cluster_catch_up ready_ms "$took"
}

# The longest time without an acknowledged write while the leader is killed.
measure_leader_kill() {
  local round=0 victim writer
  : >"$work/writing"
  while [ -e "$work/writing" ]; do
    curl -s -o /dev/null -w '%{http_code} ' -X PUT --data-binary x -m 10 "${urls[kyro]}/v1/kv/1"
    now_ms
  done >"$work/answers" &
  writer=$!
  sleep 1
  victim=$(find_leader)
  kill -9 "${pids[etcd$victim]}"
  wait "${pids[etcd$victim]}" 2>/dev/null
  unset "pids[etcd$victim]" "pids[etcd]"
  sleep 12
  rm "$work/writing"
  wait "$writer"
  one_slice cluster_leader_killed without_writes_ms "$(awk '$1 ~ /^20/ {
      if (last && $2 - last > most) most = $2 - last
      last = $2
    } END { print most }' "$work/answers")"
  awk '{ ++n[$1] } END { for (code in n) print "answers", code ":", n[code] }' "$work/answers"
}

part_cluster() {
  start_etcd || return
  start_replica kyro
  start_replica kyro2
  start_replica kyro3
  start_waiting_redis
  local round name some=$((keys < 100000 ? keys : 100000))
  for ((round = 0; round < rounds; ++round)); do
    for name in kyro etcd redis; do
      measure cluster_put "$name" --endpoint put --concurrency 64 --load-n "$some"
    done
    one_slice cluster_batches per_s "$(load_batches)"
  done
  report
  # What of the keys etcd and Redis do not have yet.
  some=$((keys < 10000 ? keys : 10000))
  load etcd "$some"
  load redis "$some"
  for ((round = 0; round < rounds; ++round)); do
    as=kyro measure cluster_get kyro2 --concurrency 64 --load-n "$some"
    for name in etcd redis; do
      measure cluster_get "$name" --concurrency 64 --load-n "$some"
    done
  done
  report
  measure_following
  report
  measure_catch_up
  measure_leader_kill
  report
  stop kyro kyro2 kyro3 etcd0 etcd1 etcd2 redis redis2 redis3
}
