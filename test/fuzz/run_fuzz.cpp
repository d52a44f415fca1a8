// Fuzz target: the bytes of a run. Whatever they are, opening it is refused or lookups and walks
// stay inside the file and hand out only records that decode.
//
// The input's first byte says whether the two ends are made right, so that records are reached.
#include <cstddef>
#include <cstdint>

#include "kyro/storage/read/cursor.h"
#include "kyro/storage/read/lookup.h"
#include "test/support/fault_fs.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kyro;
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (bytes.size() < kRunHeaderBytes + kRunFooterBytes) return 0;
  const uint64_t footer_at = bytes.size() - kRunFooterBytes;
  RunMeta meta = meta_of(load<RunFooter>(bytes.data() + footer_at));
  if (data[0] % 2 == 1) {
    meta.id = 1;
    meta.record_bytes = footer_at - kRunHeaderBytes;
    store(bytes.data(), make_run_header(meta.id));
    store(bytes.data() + footer_at, make_run_footer(meta));
  }
  if (data[0] % 4 == 3) {  // records with right checksums, one after the other
    for (size_t at = kRunHeaderBytes; footer_at - at >= kRecordHeaderBytes;) {
      auto header = load<RecordHeader>(bytes.data() + at);
      header.value_bytes %= static_cast<uint32_t>(footer_at - at - kRecordHeaderBytes + 1);
      const char* value = bytes.data() + at + kRecordHeaderBytes;
      header.crc = record_crc(header, crc32c(value, size_t{header.value_bytes}));
      store(bytes.data() + at, header);
      at += header.record_bytes();
    }
  }
  if (!check_run_ends(bytes, meta, "run").ok()) return 0;
  const uint64_t end = meta.record_bytes;
  test::FaultFs fs;
  fs.put_file("data/" + run_data_name(meta.id), std::move(bytes));
  bool rebuilt = false;
  const auto run = Run::open(*fs.open_now("data"), meta, {}, &rebuilt);
  if (!run.ok()) return 0;
  if ((*run)->verify_records().ok()) static_cast<void>((*run)->verify_index());
  RunCursor cursor(*run);
  uint64_t walked = 0;
  for (cursor.seek(0); cursor.valid(); cursor.next()) {
    const RecordView& record = cursor.record();
    walked += record.header.record_bytes();
    KYRO_CHECK(walked <= end);
    static_cast<void>(find_in_run(*run, record.header.key));
    RunCursor other(*run);
    other.seek(record.header.key + 1);
  }
  return 0;
}
