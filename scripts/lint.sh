#!/bin/bash
# Runs every check that reads the source without running it, all of them also when one fails. Ends
# with "lint: N passed, M failed".
set -u
cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
step() {
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    echo "lint: $name: failed"
    failed=$((failed + 1))
  fi
}

check_shell() {
  if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not installed (Debian: shellcheck): the scripts were not checked"
    [ -z "${CI:-}" ]
    return
  fi
  shellcheck scripts/*.sh scripts/examples/*/*.sh bench/*.sh test/package/*.sh .ci/run
}

check_descriptors() {
  if ! command -v protoc >/dev/null; then
    echo "protoc is not installed (Debian: protobuf-compiler): the descriptors were not checked"
    return
  fi
  scripts/make_descriptors.sh --check
}

step "format" scripts/check_format.sh
step "layers" scripts/check_includes.sh
step "lengths" scripts/check_lengths.sh
step "shell" check_shell
step "descriptors" check_descriptors
step "headers" env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -k headers

echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
