#!/bin/bash
# Installs Debian's packages of the engines, containers and servers that the benchmarks compare
# with, and of the tools that ask and draw.
# Needs root (or sudo without a password). The services that come with the packages are not started.
set -u

packages=(nginx-light redis-server memcached etcd-server wrk nghttp2-client nghttp2-server
  libgrpc++-dev
  protobuf-compiler-grpc protobuf-compiler gnuplot-nox libabsl-dev
  liblmdb-dev librocksdb-dev libleveldb-dev libssl-dev pkg-config python3 curl)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "install-bench-deps: needs root: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi
echo "install-bench-deps: installing ${missing[*]}"
# policy-rc.d with status 101 keeps the packages from starting their services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -q </dev/null >/dev/null 2>&1
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
  "${missing[@]}" </dev/null
