// Many threads write, each waits for the disk, and they share its syncs: group commit. Then the sum
// of what a second opening of the store finds is what was acknowledged.
//
//   g++ -std=c++20 counters.cpp $(pkg-config --cflags --libs kyrodb) -o counters && ./counters DIR
#include <kyro/kyro.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr uint64_t kThreads = 8;
constexpr uint64_t kWritesPerThread = 50;

int fail(const kyro::Status& status) {
  std::fprintf(stderr, "counters: %s\n", status.to_string().c_str());
  return 1;
}

// Thread t writes the keys t × 1000 + 0, 1, 2, …
void write_some(kyro::Store& db, uint64_t thread, std::atomic<uint64_t>& acknowledged) {
  for (uint64_t i = 0; i < kWritesPerThread; ++i) {
    if (db.put(thread * 1000 + i, std::to_string(i)).ok()) acknowledged.fetch_add(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: counters DIRECTORY\n");
    return 2;
  }
  const kyro::Options options{.data_dir = argv[1]};
  std::atomic<uint64_t> acknowledged{0};
  {
    auto db = kyro::Store::open(options);
    if (!db.ok()) return fail(db.status());
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] { write_some(*db, t, acknowledged); });
    }
    for (std::thread& thread : threads) thread.join();
    const auto syncs = db->statistics().fsyncs;
    std::printf("%llu writes acknowledged, %s syncs than writes\n",
                static_cast<unsigned long long>(acknowledged.load()),
                syncs < acknowledged.load() ? "fewer" : "not fewer");
  }
  auto db = kyro::Store::open(options);
  if (!db.ok()) return fail(db.status());
  uint64_t found = 0;
  const kyro::Status scanned =
      db->scan(0, UINT64_MAX, [&](uint64_t, std::string_view, uint64_t) { return ++found > 0; });
  if (!scanned.ok()) return fail(scanned);
  std::printf("%llu found after opening again\n", static_cast<unsigned long long>(found));
  return found == acknowledged.load() && found == kThreads * kWritesPerThread ? 0 : 1;
}
