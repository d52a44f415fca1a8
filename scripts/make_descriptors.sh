#!/bin/bash
# Writes kyro/server/grpc/descriptors.h: the descriptors of the protos in scripts/api as bytes, for
# the reflection service. With --check it only says whether that file is what protoc would
# make now. Needs protoc and python3 (Debian: protobuf-compiler).
set -eu
cd "$(dirname "$0")/.."
out=kyro/server/grpc/descriptors.h
protos=(kyrodb.proto grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto
  grpc/reflection/v1alpha/reflection.proto)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

{
  cat <<'TEXT'
// Written by scripts/make_descriptors.sh (`make proto`) from the protos in scripts/api: each file's
// FileDescriptorProto, as the reflection service hands it out.
#pragma once

#include <array>
#include <string_view>

namespace kyro::rpc {

struct FileDescriptor {
  std::string_view name;
  std::string_view bytes;
};

// clang-format off
TEXT
  echo "inline constexpr std::array<FileDescriptor, ${#protos[@]}> kDescriptors = {{"
  for proto in "${protos[@]}"; do
    protoc --proto_path=scripts/api --descriptor_set_out="$scratch/set" "scripts/api/$proto"
    # A FileDescriptorSet of one file: a tag and a length before the FileDescriptorProto.
    python3 - "$scratch/set" "$proto" <<'PYTHON'
import sys

data = open(sys.argv[1], "rb").read()
assert data[0] == 0x0A
at, length, shift = 1, 0, 0
while True:
    byte = data[at]
    length |= (byte & 0x7F) << shift
    at, shift = at + 1, shift + 7
    if byte < 0x80:
        break
data = data[at:]
assert len(data) == length
print('    {"%s",\n     std::string_view(' % sys.argv[2])
line = ""
for byte in data:
    piece = chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else "\\%03o" % byte
    if len(line) + len(piece) > 84:
        print('         "%s"' % line)
        line = ""
    line += piece
print('         "%s",\n         %d)},' % (line, len(data)))
PYTHON
  done
  cat <<'TEXT'
}};
// clang-format on

}  // namespace kyro::rpc
TEXT
} >"$scratch/descriptors.h"

if [ "${1:-}" = --check ]; then
  cmp "$scratch/descriptors.h" "$out" || {
    echo "$out is not what protoc makes: run make proto"
    exit 1
  }
else
  cp "$scratch/descriptors.h" "$out"
fi
