// Fuzz target: the bytes of a log segment. Whatever they are, the reader ends, stays inside the
// file and hands out only groups whose records decode and count on.
//
// The checksums are made right first where the input asks for it (its first byte), so that the
// fuzzer reaches what lies behind them.
#include <cstddef>
#include <cstdint>

#include "kyro/storage/log/segment_end.h"
#include "test/support/fault_fs.h"

namespace {

constexpr uint64_t kNonce = 0x1122334455667788u;

// Makes nonce, chain, lengths and checksums of what looks like groups right.
void reseal(std::string& bytes) {
  using namespace kyro;
  if (bytes.size() < kSegmentHeaderBytes) return;
  const auto policy = static_cast<FsyncPolicy>(static_cast<unsigned char>(bytes[12]) % 3);
  const SegmentHeader header = make_segment_header(policy, kNonce, 0, 0, 0, 0);
  store(bytes.data(), header);
  uint32_t chain = header.crc;
  size_t at = kSegmentHeaderBytes;
  while (bytes.size() - at >= kGroupHeaderBytes) {
    auto group = load<GroupHeader>(bytes.data() + at);
    const size_t room = bytes.size() - at - kGroupHeaderBytes;
    group.body_bytes = static_cast<uint32_t>(room == 0 ? 0 : group.body_bytes % (room + 1));
    group.nonce = kNonce;
    group.previous_crc = chain;
    store(bytes.data() + at, group);
    group.crc = crc32c(bytes.data() + at + 4, kGroupHeaderBytes - 4 + group.body_bytes);
    store(bytes.data() + at, group);
    chain = group.crc;
    at += kGroupHeaderBytes + group.body_bytes;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kyro;
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 1) reseal(bytes);
  const size_t file_bytes = bytes.size();
  test::FaultFs fs;
  fs.put_file("data/" + segment_name(0), std::move(bytes));
  auto reader = SegmentReader::open(*fs.open_now("data"), SegmentRef{0, kNonce});
  if (!reader.ok()) return 0;
  for (;;) {
    const uint64_t offset = (*reader)->next_offset();
    const uint64_t position = (*reader)->position();
    const auto step = (*reader)->next();
    KYRO_CHECK(step.ok());
    if (*step == SegmentReader::Step::kStop) break;
    KYRO_CHECK((*reader)->position() > position && (*reader)->position() <= file_bytes);
    uint64_t records = 0;
    KYRO_CHECK(for_each_record((*reader)->group(), (*reader)->body(),
                               [&](const RecordView&, std::string_view) { ++records; }));
    KYRO_CHECK((*reader)->next_offset() == offset + records);
  }
  const auto end = judge_segment_end(**reader, SegmentSequel::none(0));
  KYRO_CHECK(end.ok() && end->torn_bytes <= file_bytes);
  // Behind damage only groups with later offsets are found, each at a later place.
  for (uint64_t reached = (*reader)->next_offset();;) {
    const auto goes_on = (*reader)->skip_damage();
    KYRO_CHECK(goes_on.ok());
    if (!*goes_on) break;
    KYRO_CHECK((*reader)->next_offset() >= reached && (*reader)->position() < file_bytes);
    const uint64_t position = (*reader)->position();
    KYRO_CHECK(*(*reader)->next() == SegmentReader::Step::kGroup);
    KYRO_CHECK((*reader)->position() > position);
    reached = (*reader)->next_offset();
  }
  return 0;
}
