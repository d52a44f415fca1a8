#!/bin/bash
# Installs the gRPC clients that tests ask the server with: Debian's for Python, and with npm, where
# there is one, grpc-js into the directory $1 (default build/clients). What cannot be installed is
# said; tests that need it skip themselves.
set -u
cd "$(dirname "$0")/.." || exit 1
into=${1:-build/clients}

has_python_client() {
  command -v protoc >/dev/null && /usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null
}

if ! has_python_client; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
    --no-install-recommends python3-grpcio protobuf-compiler </dev/null >/dev/null 2>&1
  has_python_client ||
    echo "install-grpc-clients: no gRPC for Python (python3-grpcio, protobuf-compiler)"
fi

if [ ! -d "$into/node_modules/@grpc/grpc-js" ]; then
  mkdir -p "$into"
  cp test/clients/package.json "$into/"
  install=(npm install --prefix "$into" --no-audit --no-fund --ignore-scripts)
  if ! command -v npm >/dev/null || ! "${install[@]}" </dev/null >/dev/null 2>&1; then
    echo "install-grpc-clients: no grpc-js (npm, and its registry, are needed)"
  fi
fi
