#include "kyro/replica/etcd_answer.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/text/json_text.h"
#include "kyro/replica/entry.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

const EtcdKeys kEtcdKeys("counters");
const std::string kDatabaseOfAnswers = "0123456789abcdef0123456789abcdef";

std::string in_base64(std::string_view bytes) {
  std::string text;
  append_base64(text, bytes);
  return text;
}

// An entry of one record at an offset, and the head after it.
struct EncodedEntry {
  explicit EncodedEntry(uint64_t offset) {
    const Mutation mutation = Mutation::put(7, "value of seven");
    std::string body(static_cast<size_t>(mutation.record_bytes()), '\0');
    encode_record(mutation, offset, body.data());
    LogHead covered{offset, 77, 0x1234abcd, kDatabaseOfAnswers};
    entry = encode_entry(&covered, 1, 0x5eed, body);
    head = encode_head(covered);
  }
  std::string entry;
  std::string head;
};

// As etcd 3.4.23 writes them.
const std::string kEtcdHeader =
    R"("header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437",)"
    R"("revision":"5","raft_term":"2"})";

std::string kvs_of(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string kvs;
  for (const auto& [key, value] : pairs) {
    kvs += (kvs.empty() ? R"({"key":")" : R"(,{"key":")") + in_base64(key);
    kvs += R"(","create_revision":"5","mod_revision":"5","version":"1","value":")";
    kvs += in_base64(value) + "\"}";
  }
  return R"("kvs":[)" + kvs + "]";
}
std::string answered_range(const std::string& key, const std::string& value) {
  return R"({"response_range":{"header":{"revision":"5"},)" + kvs_of({{key, value}}) +
         R"(,"count":"1"}})";
}
const std::string kEmptyRange = R"({"response_range":{"header":{"revision":"5"}}})";

std::string failed_create(uint64_t offset, const EncodedEntry& encoded) {
  return "{" + kEtcdHeader + R"(,"responses":[)" +
         answered_range(kEtcdKeys.entry(offset), encoded.entry) + "," +
         answered_range(kEtcdKeys.head(), encoded.head) + "]}";
}
std::string made_create() {
  return "{" + kEtcdHeader +
         R"(,"succeeded":true,"responses":[{"response_put":{"header":{"revision":"5"}}},)"
         R"({"response_put":{"header":{"revision":"5"}}}]})";
}
std::string answered_page(const std::vector<uint64_t>& offsets, const std::string& end) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const uint64_t offset : offsets) {
    pairs.emplace_back(kEtcdKeys.entry(offset), EncodedEntry(offset).entry);
  }
  return "{" + kEtcdHeader + "," + kvs_of(pairs) + end + "}";
}

Result<EntryStore::Found> found_by(std::string_view body, uint64_t offset) {
  auto txn = decode_etcd_txn(body);
  KYRO_TRY(txn);
  return take_etcd_found(std::move(*txn), kEtcdKeys, offset);
}
Result<std::vector<EntryStore::Entry>> entries_by(std::string_view body, uint64_t from) {
  auto range = decode_etcd_range(body);
  KYRO_TRY(range);
  return take_etcd_entries(std::move(*range), kEtcdKeys, from);
}

// Calls check(text, at) with every byte at `at` changed in every single bit, and all of them.
template <class Check>
void for_each_flip(const std::string& answer, Check check) {
  for (size_t at = 0; at < answer.size(); ++at) {
    for (const int mask : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::string text = answer;
      text[at] = static_cast<char>(static_cast<unsigned char>(text[at]) ^ mask);
      check(text, at);
    }
  }
}

// What a store takes an entry for: its own bytes, or damage.
bool is_damaged(const std::string& entry, uint64_t offset) {
  return !decode_entry(entry, offset, kDatabaseOfAnswers).ok();
}

}  // namespace

TEST_CASE("a key says its offset, in the order of the offsets") {
  CHECK(kEtcdKeys.entry(0) == "kyro/counters/log/00000000000000000000");
  CHECK(kEtcdKeys.head() == "kyro/counters/head");
  CHECK(kEtcdKeys.end() == "kyro/counters/log0");
  std::string before;
  for (const uint64_t offset : {uint64_t{0}, uint64_t{9}, uint64_t{10}, ~uint64_t{0}}) {
    const std::string key = kEtcdKeys.entry(offset);
    CHECK(before < key);
    CHECK(key < kEtcdKeys.end());
    CHECK(kEtcdKeys.offset_of(key) == offset);
    before = key;
  }
  for (const char* foreign :
       {"", "kyro/counters/head", "kyro/counters/log/1", "kyro/counters/log/0000000000000000000x",
        "kyro/counters/log/99999999999999999999", "kyro/countera/log/00000000000000000000"}) {
    INFO(foreign);
    CHECK_FALSE(kEtcdKeys.offset_of(foreign));
  }
}

TEST_CASE("etcd's answers are understood") {
  const EncodedEntry encoded(3);
  const auto made = decode_etcd_txn(made_create());
  REQUIRE(made.ok());
  CHECK(made->succeeded);

  const auto conflict = found_by(failed_create(3, encoded), 3);
  INFO(conflict.status().to_string());
  REQUIRE(conflict.ok());
  CHECK(conflict->entry == encoded.entry);
  CHECK(conflict->head == encoded.head);

  const auto nothing = found_by("{" + kEtcdHeader + R"(,"succeeded":true,"responses":[)" +
                                    kEmptyRange + "," + kEmptyRange + "]}",
                                3);
  REQUIRE(nothing.ok());
  CHECK_FALSE(nothing->entry);
  CHECK_FALSE(nothing->head);

  const auto page = entries_by(answered_page({3, 4, 9}, R"(,"more":true,"count":"40")"), 3);
  INFO(page.status().to_string());
  REQUIRE(page.ok());
  REQUIRE(page->size() == 3);
  CHECK((*page)[2].offset == 9);
  CHECK_FALSE(is_damaged((*page)[2].bytes, 9));
  CHECK(entries_by("{" + kEtcdHeader + "}", 3)->empty());

  const auto token = decode_etcd_token("{" + kEtcdHeader + R"(,"token":"qBtTbHbYEGSRyxuE.14"})");
  REQUIRE(token.ok());
  CHECK(*token == "qBtTbHbYEGSRyxuE.14");
}

TEST_CASE("every truncation of an answer is an error, and reads nothing beyond it") {
  const std::string txn = failed_create(3, EncodedEntry(3));
  const std::string page = answered_page({3, 4}, R"(,"count":"2")");
  const std::string token = "{" + kEtcdHeader + R"(,"token":"qBtTbHbYEGSRyxuE.14"})";
  for (size_t size = 0; size < txn.size(); ++size) {
    const GuardedBytes bytes(std::string_view(txn).substr(0, size));
    CHECK(found_by(bytes.view(), 3).status().code() == Code::kCorruption);
  }
  for (size_t size = 0; size < page.size(); ++size) {
    const GuardedBytes bytes(std::string_view(page).substr(0, size));
    CHECK(entries_by(bytes.view(), 3).status().code() == Code::kCorruption);
  }
  for (size_t size = 0; size < token.size(); ++size) {
    const GuardedBytes bytes(std::string_view(token).substr(0, size));
    CHECK(decode_etcd_token(bytes.view()).status().code() == Code::kCorruption);
    CHECK_FALSE(decode_etcd_error(500, bytes.view()).message.empty());
  }
}

TEST_CASE("a flipped byte of a transaction's answer is an error, or it says the same") {
  const EncodedEntry encoded(3);
  const std::string answer = failed_create(3, encoded);
  const size_t head_begin = answer.find(in_base64(encoded.head));
  const size_t head_end = head_begin + in_base64(encoded.head).size();
  uint64_t refused = 0;
  for_each_flip(answer, [&](const std::string& text, size_t at) {
    const auto found = found_by(text, 3);
    if (!found.ok()) {
      ++refused;
      return;
    }
    INFO(text);
    const bool entry_is_safe =
        found->entry && (found->entry == encoded.entry || is_damaged(*found->entry, 3));
    CHECK(entry_is_safe);
    // The head has no checksum of its own: what stands there is compared by etcd, and its CRC with
    // that of the entry.
    const bool is_in_head = at >= head_begin && at < head_end;
    CHECK((is_in_head ? found->head.has_value() : found->head == encoded.head));
    CHECK_FALSE(decode_etcd_txn(text)->succeeded);
  });
  CHECK(refused > answer.size());
  for_each_flip(made_create(), [&](const std::string& text, size_t) {
    const auto txn = decode_etcd_txn(text);
    // Either it was made, or there is nothing that could be taken for another one's entry.
    if (txn.ok() && !txn->succeeded) CHECK_FALSE(found_by(text, 3).ok());
  });
}

TEST_CASE("a flipped byte of a page is an error, or it says the same") {
  const std::string answer = answered_page({3, 4}, R"(,"count":"2")");
  const auto whole = entries_by(answer, 3);
  REQUIRE(whole.ok());
  uint64_t refused = 0;
  for_each_flip(answer, [&](const std::string& text, size_t) {
    const auto page = entries_by(text, 3);
    if (!page.ok()) {
      ++refused;
      return;
    }
    INFO(text);
    REQUIRE(page->size() == whole->size());
    for (size_t i = 0; i < page->size(); ++i) {
      const EntryStore::Entry& entry = (*page)[i];
      const bool is_safe =
          (entry.offset == (*whole)[i].offset && entry.bytes == (*whole)[i].bytes) ||
          is_damaged(entry.bytes, entry.offset);
      CHECK(is_safe);
    }
  });
  CHECK(refused > answer.size());
}

TEST_CASE("what was not asked for, or is not whole, is refused") {
  const EncodedEntry encoded(3);
  CHECK_FALSE(found_by(failed_create(3, encoded), 4).ok());
  CHECK_FALSE(found_by("{\"responses\":[" + kEmptyRange + "]}", 3).ok());
  CHECK_FALSE(found_by("{}", 3).ok());
  CHECK_FALSE(entries_by(answered_page({3}, R"(,"count":"1")"), 4).ok());
  CHECK_FALSE(entries_by(answered_page({4, 3}, R"(,"count":"2")"), 3).ok());
  CHECK_FALSE(entries_by(answered_page({3, 3}, R"(,"count":"2")"), 3).ok());
  CHECK_FALSE(entries_by(answered_page({3}, R"(,"count":"2")"), 3).ok());
  CHECK_FALSE(entries_by(answered_page({3}, R"(,"more":true,"count":"1")"), 3).ok());
  CHECK_FALSE(entries_by(R"({"count":"1"})", 3).ok());
  CHECK_FALSE(entries_by(R"({"kvs":[{"key":"YQ==","value":""}],"count":"1"})", 3).ok());
  for (const char* foreign : {"", "[]", "null", "<html>", R"({"kvs":{}})", R"({"kvs":[1]})"}) {
    INFO(foreign);
    CHECK(entries_by(foreign, 3).status().code() == Code::kCorruption);
  }
  for (const char* token :
       {R"({"token":""})", R"({"token":"a\r\nHost: b"})", R"({"token":7})", "{}"}) {
    INFO(token);
    CHECK(decode_etcd_token(token).status().code() == Code::kCorruption);
  }
}

TEST_CASE("why etcd refuses is told apart") {
  struct Case {
    int http_status;
    uint64_t code;
    const char* message;
    EtcdRefusal expected;
  };
  const std::vector<Case> cases = {
      {429, 8, "etcdserver: mvcc: database space exceeded", EtcdRefusal::kNoSpace},
      {400, 3, "etcdserver: request is too large", EtcdRefusal::kTooLarge},
      {429, 8, "grpc: received message larger than max (4000104 vs. 2097152)",
       EtcdRefusal::kTooLarge},
      {401, 16, "etcdserver: invalid auth token", EtcdRefusal::kToken},
      {400, 3, "etcdserver: revision of auth store is old", EtcdRefusal::kToken},
      {500, 2, "auth: revision in header is old", EtcdRefusal::kToken},
      {400, 3, "etcdserver: authentication failed, invalid user ID or password",
       EtcdRefusal::kUser},
      {400, 9, "etcdserver: authentication is not enabled", EtcdRefusal::kUser},
      {400, 3, "etcdserver: user name is empty", EtcdRefusal::kUser},
      {403, 7, "etcdserver: permission denied", EtcdRefusal::kUser},
      {503, 14, "etcdserver: request timed out", EtcdRefusal::kOther},
      {503, 14, "etcdserver: no leader", EtcdRefusal::kOther},
  };
  for (const Case& one : cases) {
    std::string body = R"({"error":)";
    append_json_string(body, one.message);
    body += R"(,"message":)";
    append_json_string(body, one.message);
    body += R"(,"code":)" + std::to_string(one.code) + "}";
    const EtcdError error = decode_etcd_error(one.http_status, body);
    INFO(body);
    CHECK(error.message == one.message);
    CHECK(error.refusal == one.expected);
  }
  CHECK(decode_etcd_error(413, "<html>too large</html>").refusal == EtcdRefusal::kTooLarge);
  CHECK(decode_etcd_error(502, "<html>bad gateway</html>").message == "HTTP status 502");
  CHECK(decode_etcd_error(502, "").refusal == EtcdRefusal::kOther);
  const std::string long_one(100'000, 'm');
  CHECK(decode_etcd_error(500, R"({"error":")" + long_one + "\"}").message.size() == 512);
  CHECK(decode_etcd_error(500, "{\"error\":\"a\\nb\xc3\xa4\"}").message == "a?b??");
}

}  // namespace kyro::test
