#!/bin/bash
# Three members of etcd and three replicas on loopback, until Ctrl-C; prints what to try.
#
#   demo.sh BINARY [DIR]      DIR (a temporary one if none is given) has the data and the logs
#
# Only what it has started ends with it, however it ends.
set -u
binary=$(realpath "${1:?usage: demo.sh BINARY [DIR]}")
dir=${2:-}
if [ -z "$dir" ]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
fi
fail() {
  echo "cluster-demo: $1" >&2
  exit 1
}
command -v etcd >/dev/null || fail "etcd is not installed (Debian: apt-get install etcd-server)."
mkdir -p "$dir"

pids=()
# Ends all of it; with a sentence where something went wrong.
stop() {
  trap - INT TERM
  kill "${pids[@]}" 2>/dev/null
  wait "${pids[@]}"
  [ $# -eq 0 ] || fail "$1"
  exit 0
}
trap 'stop' INT TERM

# $port becomes the next one that nobody listens on.
port=$((${BASE_PORT:-3031} - 1))
take_port() {
  port=$((port + 1))
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
}
# Waits until the log $1 has the line $2, which the program $3 writes when it serves.
wait_for_line() {
  grep -q -m 1 -- "$2" < <(tail --pid="$3" -n +1 -f "$1" 2>/dev/null) && return
  tail -n 5 "$1" >&2
  stop "${1##*/} says why it did not start"
}

replica_ports=() clients=() peers=() cluster=""
for i in 0 1 2; do
  take_port
  replica_ports[i]=$port
done
for i in 0 1 2; do
  take_port
  clients[i]=http://127.0.0.1:$port
  take_port
  peers[i]=http://127.0.0.1:$port
  cluster+=${cluster:+,}member$i=${peers[i]}
done
for i in 0 1 2; do
  setpriv --pdeathsig TERM etcd --name "member$i" --data-dir "$dir/member$i" \
    --listen-client-urls "${clients[i]}" --advertise-client-urls "${clients[i]}" \
    --listen-peer-urls "${peers[i]}" --initial-advertise-peer-urls "${peers[i]}" \
    --initial-cluster "$cluster" --auto-compaction-mode periodic --auto-compaction-retention 1m \
    >"$dir/member$i.log" 2>&1 &
  pids+=($!)
done
for i in 0 1 2; do
  wait_for_line "$dir/member$i.log" 'ready to serve client requests' "${pids[i]}"
done

members=$(IFS=,; echo "${clients[*]}")
urls=()
for i in 0 1 2; do
  urls[i]=http://127.0.0.1:${replica_ports[i]}
  setpriv --pdeathsig TERM "$binary" serve 127.0.0.1 "${replica_ports[i]}" \
    --data-dir "$dir/replica$i" --log "$members/demo" >"$dir/replica$i.log" 2>&1 &
  pids+=($!)
done
for i in 0 1 2; do wait_for_line "$dir/replica$i.log" ' version=' "${pids[i + 3]}"; done
replicas=$(IFS=,; echo "${urls[*]}")

cat <<TEXT
Three replicas (${urls[*]}) on a log in three members of etcd; data and logs in $dir.

What to try, in another terminal:

  ${binary}ctl -e ${urls[0]} put 1 hello
  curl -s '${urls[1]}/v1/kv/1?min_offset=0'          # once it has that write
  curl -s '${urls[2]}/v1/kv/1?consistency=latest'    # once it has all there is
  ${binary}ctl cluster --endpoints $replicas
  kill -9 ${pids[0]}          # one member of etcd: nobody notices
  ${binary}ctl -e ${urls[1]} put 2 again
  kill -9 ${pids[3]}          # and the first replica
  curl -s '${urls[2]}/v1/kv/2?consistency=latest'
  kill -9 ${pids[1]}          # and another member, so that there is no majority
  ${binary}ctl -e ${urls[2]} get 2
  curl -s -X PUT -d x ${urls[1]}/v1/kv/3     # 503 log_unreachable, within five seconds

Ctrl-C ends all of it.
TEXT
wait
