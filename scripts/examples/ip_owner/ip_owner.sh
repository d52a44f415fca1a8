#!/bin/bash
# Who owns this address? Ranges are stored under their first address, as "LAST WHAT"; the range that
# may hold an address is the one at the nearest key that is not greater, /v1/floor, and it does if
# the address is not after its last one. A store that hashes its keys cannot be asked that.
#
#   ip_owner.sh URL load [FILE]     lines of FILE (default: registry.csv): FIRST,LAST,WHAT
#   ip_owner.sh URL who ADDRESS     exit 3 if no range holds it
set -euo pipefail

die() {
  echo "ip_owner: $2" >&2
  exit "$1"
}

# 192.0.2.1 → 3221225985
to_number() {
  local octets=() octet number=0
  [[ $1 =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || die 2 "not an IPv4 address: $1"
  IFS=. read -ra octets <<<"$1"
  for octet in "${octets[@]}"; do
    [ "$((10#$octet))" -le 255 ] || die 2 "not an IPv4 address: $1"
    number=$((number * 256 + 10#$octet))
  done
  echo "$number"
}

to_address() {
  echo "$(($1 >> 24)).$(($1 >> 16 & 255)).$(($1 >> 8 & 255)).$(($1 & 255))"
}

load() {
  local first last what key count=0
  while IFS=, read -r first last what; do
    case $first in '' | '#'*) continue ;; esac
    key=$(to_number "$first")
    last=$(to_number "$last")
    [ "$key" -le "$last" ] || die 1 "a range ends before it begins: $first"
    curl -sS --fail -o /dev/null -X PUT --data-binary "$last $what" "$url/v1/kv/$key" ||
      die 1 "the server did not take $first"
    count=$((count + 1))
  done <"$1"
  echo "$count ranges"
}

who() {
  local address answer first last what
  address=$(to_number "$1")
  answer=$(curl -sS -w '\n%{http_code}' "$url/v1/floor/$address")
  case ${answer##*$'\n'} in
    200) ;;
    404) die 3 "$1: in no range" ;;
    *) die 1 "$answer" ;;
  esac
  first=$(sed -n 's/^{"key":\([0-9]*\),.*/\1/p' <<<"$answer")
  last=$(sed -n 's/.*"value":"\([0-9]*\) .*/\1/p' <<<"$answer")
  what=$(sed -n 's/.*"value":"[0-9]* \(.*\)","offset":[0-9]*}$/\1/p' <<<"$answer")
  [ "$address" -le "$last" ] || die 3 "$1: in no range"
  echo "$1: $what, $(to_address "$first") to $(to_address "$last")"
}

[ $# -ge 2 ] || die 2 "usage: ip_owner.sh URL load [FILE] | ip_owner.sh URL who ADDRESS"
url=$1
case $2 in
  load) load "${3:-$(dirname "$0")/registry.csv}" ;;
  who) who "${3:-}" ;;
  *) die 2 "load or who, not $2" ;;
esac
