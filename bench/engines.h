// The engines that a benchmark is linked with (bench/find_engines.sh says which), and those of them
// that are asked for.
#pragma once

#include <memory>
#include <vector>

#include "bench/kv.h"
#include "bench/kv_kyro.h"
#include "bench/kv_leveldb.h"
#include "bench/kv_lmdb.h"
#include "bench/kv_rocksdb.h"
#include "bench/settings.h"

namespace kyro::bench {

inline std::vector<std::unique_ptr<Kv>> all_engines() {
  std::vector<std::unique_ptr<Kv>> out;
  out.push_back(std::make_unique<KyroKv>());
#if defined(KYRO_BENCH_LMDB)
  out.push_back(std::make_unique<LmdbKv>());
#endif
#if defined(KYRO_BENCH_ROCKSDB)
  out.push_back(std::make_unique<RocksKv>());
#endif
#if defined(KYRO_BENCH_LEVELDB)
  out.push_back(std::make_unique<LevelKv>());
#endif
  return out;
}

inline std::vector<std::unique_ptr<Kv>> chosen_engines() {
  auto engines = all_engines();
  std::erase_if(engines,
                [](const auto& kv) { return !is_chosen("KYRO_BENCH_ENGINES", kv->name()); });
  return engines;
}

}  // namespace kyro::bench
