#!/bin/bash
# Runs the test program given as $1, with the filter in the other arguments, in pieces: as many side
# by side as there are processors, each with every 16th test. Prints what a piece says when it is
# done and ends with "tests: N passed, M failed". $EMULATOR stands before the program. A piece that
# takes longer than $PIECE_SECS hangs: the test in which it is ended is named, and has failed.
set -u

pieces=16
emulator=${EMULATOR:-}
piece_secs=${PIECE_SECS:-1200}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# The names of the tests, one a line, dealt out in turn. Catch2 takes a comma for the end of a name.
${emulator:+"$emulator"} "$@" --list-test-names-only | sed 's/[\\,"]/\\&/g' >"$dir/names"
[ -s "$dir/names" ] || { echo "run_tests: no test matches" >&2; exit 1; }
split --number="r/$pieces" --numeric-suffixes --suffix-length=2 "$dir/names" "$dir/piece"

# Runs one piece. A process that dies without totals, or with a failure that they do not have, is
# one failed test.
run_piece() {
  local piece=$1 status totals tests=0 bad=0
  shift
  [ -s "$piece" ] || return 0
  timeout --kill-after=5 "$piece_secs" ${emulator:+"$emulator"} "$@" --input-file "$piece" \
    >"$piece.log" 2>&1
  status=$?
  totals=$(grep -aE '^(All tests passed|test cases:)' "$piece.log" | tail -n 1)
  case $totals in
    All*) tests=$(sed -E 's/.* in ([0-9]+) test cases?.*/\1/' <<<"$totals") ;;
    test*)
      tests=$(sed -E 's/^test cases: *([0-9]+).*/\1/' <<<"$totals")
      bad=$(grep -oE '[0-9]+ failed' <<<"$totals" | cut -d' ' -f1)
      ;;
  esac
  if [ "$status" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then
    echo "run_tests: the test program ended with status $status" >>"$piece.log"
    bad=1
    [ "$tests" -gt 0 ] || tests=1
  fi
  echo "$((tests - ${bad:-0})) ${bad:-0}" >"$piece.totals"
  flock "$dir/names" grep -av '^Filters: ' "$piece.log"
}

running=0
for piece in "$dir"/piece??; do
  if [ "$running" -ge "$(nproc)" ]; then
    wait -n
    running=$((running - 1))
  fi
  run_piece "$piece" "$1" &
  running=$((running + 1))
done
wait

read -r passed failed < <(cat "$dir"/*.totals | awk '{ p += $1; f += $2 } END { print p, f }')
listed=$(wc -l <"$dir/names")
if [ $((passed + failed)) -ne "$listed" ]; then
  echo "run_tests: $listed tests were to run, $((passed + failed)) did"
  failed=$((failed + listed - passed - failed))
fi
echo "tests: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
