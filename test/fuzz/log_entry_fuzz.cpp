// Fuzz target: what is read from a shared log. The first byte says which decoder is meant: an entry
// (its checksum is made right first), the head, or an answer of etcd. An entry or a head that is
// accepted comes back byte for byte when it is encoded again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/replica/entry.h"
#include "kyro/replica/etcd_answer.h"
#include "kyro/replica/etcd_watch.h"

namespace {

using namespace kyro;

void try_entry(std::string entry) {
  if (entry.size() < sizeof(EntryHeader)) {
    KYRO_CHECK(!decode_entry(entry, 0, {}).ok());
    return;
  }
  const std::string_view body = std::string_view(entry).substr(sizeof(EntryHeader));
  store(entry.data() + offsetof(EntryHeader, crc),
        crc32c(body, crc32c(entry.data(), offsetof(EntryHeader, crc))));
  const auto header = load<EntryHeader>(entry.data());
  const std::string database(header.database, kDatabaseIdChars);
  const auto group = decode_entry(entry, header.first_offset, database);
  if (!group.ok()) return;
  LogHead head{header.first_offset, header.position, header.previous_crc, database};
  KYRO_CHECK(encode_entry(&head, group->records, header.nonce, group->body) == entry);
  KYRO_CHECK(head.end == group->end_offset() && head.position == group->end_position);
}

void try_head(std::string_view text) {
  const auto head = decode_head(text);
  if (head.ok()) KYRO_CHECK(encode_head(*head) == text);
}

void try_answer(std::string_view body) {
  const EtcdKeys keys("name");
  if (auto range = decode_etcd_range(body); range.ok()) {
    static_cast<void>(take_etcd_entries(std::move(*range), keys, 7));
  }
  if (auto txn = decode_etcd_txn(body); txn.ok()) {
    static_cast<void>(take_etcd_found(std::move(*txn), keys, 7));
  }
  static_cast<void>(decode_etcd_token(body));
  static_cast<void>(decode_etcd_usage(body));
  static_cast<void>(decode_etcd_error(400, body));
  static_cast<void>(decode_etcd_watch(body));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      try_entry(std::string(input));
      break;
    case 1:
      try_head(input);
      break;
    default:
      try_answer(input);
  }
  return 0;
}
