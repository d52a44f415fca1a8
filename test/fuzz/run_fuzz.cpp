// Fuzz target: the bytes of a run. Whatever they are, opening it is refused or lookups and walks
// stay inside the file and hand out only records that decode.
//
// The bits of the input's first byte: 0, the two ends are made right, so that records are reached;
// 1, the records get right checksums; 2, it is a run of pages; 3, their directories get right
// checksums.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kyro/storage/read/lookup.h"
#include "kyro/storage/read/run_cursor.h"
#include "kyro/storage/run/run_verify.h"
#include "test/support/fault_fs.h"

namespace {

using namespace kyro;

// Makes what lies in [begin, end) records with right checksums, one after the other.
void make_records(std::string& bytes, size_t begin, size_t end) {
  for (size_t at = begin; end - at >= kRecordHeaderBytes;) {
    auto header = load<RecordHeader>(bytes.data() + at);
    header.value_bytes %= static_cast<uint32_t>(end - at - kRecordHeaderBytes + 1);
    const char* value = bytes.data() + at + kRecordHeaderBytes;
    header.crc = record_crc(header, crc32c(value, size_t{header.value_bytes}));
    store(bytes.data() + at, header);
    at += header.record_bytes();
  }
}

// Where what lies in a run of so many bytes.
RunBody make_body(const RunFooter& footer, size_t file_bytes, bool is_paged) {
  const size_t records_end = file_bytes - kRunFooterBytes;
  if (!is_paged || records_end < 2 * kPageBytes) {
    return RunBody::of_records(records_end - kRunHeaderBytes);
  }
  const uint64_t pages = 1 + footer.pages % (records_end / kPageBytes - 1);
  return RunBody::of_pages(pages, records_end - (1 + pages) * kPageBytes);
}

void make_pages(std::string& bytes, const RunBody& body, uint64_t id, uint8_t flags) {
  std::fill(bytes.begin() + kRunHeaderBytes, bytes.begin() + kPageBytes, '\0');
  for (uint64_t number = 0; number < body.pages; ++number) {
    const size_t at = body.page_begin(number);
    const size_t begin = std::clamp<size_t>(PageView(bytes.data() + at).begin(), 4, kPageBytes);
    store(bytes.data() + at + 4, static_cast<uint16_t>(begin));
    if ((flags & 2) != 0) make_records(bytes, at + begin, at + kPageBytes);
    if ((flags & 8) == 0) continue;
    const uint32_t seed = page_seed(id, number);
    store_u32(bytes.data() + at, crc32c(bytes.data() + at + 4, begin - 4, seed));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t flags = data[0];
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (bytes.size() < kRunHeaderBytes + kRunFooterBytes) return 0;
  const uint64_t footer_at = bytes.size() - kRunFooterBytes;
  const auto footer = load<RunFooter>(bytes.data() + footer_at);
  RunMeta meta = meta_of(footer);
  const RunBody body = make_body(footer, bytes.size(), (flags & 4) != 0);
  if ((flags & 1) != 0) {
    meta.id = 1;
    meta.records = std::max<uint64_t>(meta.records, 1);
    if (!body.is_paged()) meta.record_bytes = footer_at - kRunHeaderBytes;
    store(bytes.data(), make_run_header(meta.id, body.version()));
    store(bytes.data() + footer_at, make_run_footer(meta, body));
  }
  if (body.is_paged()) make_pages(bytes, body, meta.id, flags);
  if ((flags & 2) != 0) {
    make_records(bytes, body.is_paged() ? body.large_begin() : kRunHeaderBytes, footer_at);
  }
  if (!check_run_ends(bytes, meta, "run").ok()) return 0;
  const uint64_t records_max = bytes.size() + kPageEntriesMax;
  test::FaultFs fs;
  fs.put_file("data/" + run_data_name(meta.id), std::move(bytes));
  bool rebuilt = false;
  const auto run = Run::open(*fs.open_now("data"), meta, {}, &rebuilt);
  if (!run.ok()) return 0;
  if (verify_records(**run).ok()) static_cast<void>(verify_index(**run));
  uint64_t walked = 0;
  for (const Direction direction : {Direction::kUp, Direction::kDown}) {
    const auto cursor = open_cursor(*run, direction);
    const uint64_t from = direction == Direction::kUp ? 0 : ~uint64_t{0};
    for (cursor->seek(from); cursor->valid(); cursor->next()) {
      KYRO_CHECK(++walked <= 2 * records_max);
      const uint64_t keys[] = {cursor->record().header.key, cursor->record().header.key + 1};
      for (const uint64_t key : keys) static_cast<void>(find_in_run(*run, key));
      RunFound found[2];
      (*run)->find_batch(keys, 2, found);
      const auto other = open_cursor(*run, direction);
      other->seek(keys[1]);
    }
  }
  return 0;
}
