#!/bin/bash
# Prints compiler flags for the engines that the engine benchmark can be linked with: a macro and a
# library for each of LMDB, RocksDB and LevelDB that this compiler finds. Says on stderr which are
# missing. Usage: bench/find_engines.sh COMPILER
set -u

try() {
  local macro=$1 library=$2 package=$3 program=$4
  if echo "$program" | "$cxx" -std=c++20 -x c++ - -x none "$library" -o /dev/null 2>/dev/null; then
    printf ' -D%s %s' "$macro" "$library"
  else
    echo "no $package: the benchmark runs without that engine" >&2
  fi
}

cxx=${1:?compiler}
try KYRO_BENCH_LMDB -llmdb liblmdb-dev \
  '#include <lmdb.h>
   int main() { return mdb_version(nullptr, nullptr, nullptr) == nullptr; }'
try KYRO_BENCH_ROCKSDB -lrocksdb librocksdb-dev \
  '#include <rocksdb/db.h>
   int main() { rocksdb::DB* db; return rocksdb::DB::Open({}, "", &db).ok(); }'
try KYRO_BENCH_LEVELDB -lleveldb libleveldb-dev \
  '#include <leveldb/db.h>
   int main() { leveldb::DB* db; return leveldb::DB::Open({}, "", &db).ok(); }'
echo
