// A learned index over positions of one's own, with nothing of the store: built, asked, saved.
#include <kyro/index/rmi.h>
#include <kyro/index/rmi_builder.h>

#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
  std::vector<kyro::IndexEntry> entries;  // ascending keys, and what they lead to
  for (uint64_t i = 0; i < 100'000; ++i) entries.push_back({i * i, i});
  kyro::VectorSink file;
  const auto built = kyro::build_rmi(entries, {}, file);
  const auto index = kyro::RmiIndex::open(file.bytes(), entries.size(), entries.size());
  if (!built.ok() || !index.ok()) return 1;
  const auto hit = index->find(1764);          // exactly this key
  const auto next = index->lower_bound(1765);  // the first that is not smaller
  std::printf("1764 is the square of %llu, the next one is %llu\n",
              static_cast<unsigned long long>(hit.position),
              static_cast<unsigned long long>(next.key()));
  std::printf("%llu bytes, %u levels, at most %u slots off\n",
              static_cast<unsigned long long>(built->file_bytes), built->depth, built->epsilon_max);
  FILE* out = argc > 1 ? std::fopen(argv[1], "wb") : nullptr;
  if (out == nullptr) return argc > 1 ? 1 : 0;
  const size_t written = std::fwrite(file.bytes().data(), 1, file.bytes().size(), out);
  return std::fclose(out) == 0 && written == file.bytes().size() ? 0 : 1;
}
