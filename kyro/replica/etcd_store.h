// A shared log in etcd (etcd_keys.h says where), over its HTTP gateway: JSON, etcd 3.4 and newer.
//
// create() is one transaction: it compares the head, and that no key exists; where that fails it
// reads both. look() is a transaction of reads, read() a range; all are linearizable, which is
// etcd's default.
//
// wait() is a watch of the head (etcd_watch.h) at the member that is asked, on a connection of its
// own. A watch that has just begun tells nothing of what was before: wait() says so, and whoever
// looks again then has missed nothing. The same where it has ended, where calls have gone over to
// another member, and where a look has shown more than it has told of for a whole wait: then it is
// begun anew, ten times a second at most.
//
// Thread rule: one thread at a time, but wake() from any. Ownership: owns its connections.
#pragma once

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/wake_up.h"
#include "kyro/json/base64.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/etcd_answer.h"
#include "kyro/replica/etcd_keys.h"
#include "kyro/replica/etcd_members.h"
#include "kyro/replica/etcd_watch.h"

namespace kyro {

class EtcdStore final : public EntryStore {
 public:
  static constexpr uint32_t kReadCountMax = 1024;

  explicit EtcdStore(const EtcdOptions& options) : members_(options), keys_(options.name) {}

  [[nodiscard]] Result<std::optional<Found>> create(uint64_t offset, std::string_view entry,
                                                    std::string_view before,
                                                    std::string_view after) override;
  [[nodiscard]] Result<Found> look(uint64_t offset) override;
  Status create_head(std::string_view head) override;
  [[nodiscard]] Result<std::vector<Entry>> read(uint64_t from, uint32_t count) override;
  Status erase(uint64_t below) override;
  [[nodiscard]] Result<Usage> usage() override;
  [[nodiscard]] std::optional<std::string> wait(uint64_t timeout_ms) override;
  void wake() override { wake_up_.wake(); }

  // Whom the next call asks first. Any thread.
  [[nodiscard]] const std::string& endpoint() const { return members_.endpoint().name; }

 private:
  static constexpr uint64_t kBeginPauseNs = 100'000'000;

  void begin_watch(uint64_t deadline_ns);
  // False if it was woken, or the time is over.
  bool sleep(uint64_t deadline_ns);

  EtcdMembers members_;
  const EtcdKeys keys_;
  WakeUp wake_up_;
  std::unique_ptr<EtcdWatch> watch_;      // null: none
  std::string watched_;                   // the member that it is at
  uint64_t begun_ns_ = 0;                 // when that was last tried
  std::optional<std::string> told_head_;  // by the watch, or the first look after it had begun
  std::optional<std::string> seen_head_;  // by the last look
  bool has_told_ = false;                 // since then
};

// ---- what is asked ----

namespace etcd_detail {

inline std::string json_bytes(std::string_view name, std::string_view bytes) {
  std::string out = "\"";
  out.append(name).append("\":\"");
  append_base64(out, bytes);
  return out += '"';
}
inline std::string json_put(std::string_view key, std::string_view value) {
  return "{\"request_put\":{" + json_bytes("key", key) + "," + json_bytes("value", value) + "}}";
}
inline std::string json_range(std::string_view key) {
  return "{\"request_range\":{" + json_bytes("key", key) + "}}";
}
// That there is no such key.
inline std::string json_absent(std::string_view key) {
  return "{\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"," +
         json_bytes("key", key) + "}";
}

}  // namespace etcd_detail

inline Result<std::optional<EntryStore::Found>> EtcdStore::create(uint64_t offset,
                                                                  std::string_view entry,
                                                                  std::string_view before,
                                                                  std::string_view after) {
  using namespace etcd_detail;
  const std::string key = keys_.entry(offset);
  std::string body = "{\"compare\":[" + json_absent(key);
  body += ",{\"target\":\"VALUE\",\"result\":\"EQUAL\"," + json_bytes("key", keys_.head()) + ",";
  body += json_bytes("value", before) + "}],\"success\":[" + json_put(key, entry) + ",";
  body += json_put(keys_.head(), after) + "],\"failure\":[" + json_range(key) + ",";
  body += json_range(keys_.head()) + "]}";
  const auto decode = [&](std::string_view answer) -> Result<std::optional<Found>> {
    auto txn = decode_etcd_txn(answer);
    KYRO_TRY(txn);
    if (txn->succeeded) return std::optional<Found>();
    auto found = take_etcd_found(std::move(*txn), keys_, offset);
    KYRO_TRY(found);
    return std::optional<Found>(std::move(*found));
  };
  auto made = members_.ask("/v3/kv/txn", body, decode);
  if (made.status().code() != Code::kNoSpace) return made;
  // What was under way when the room ran out is made all the same, and answered with this error.
  const auto there = look(offset);
  if (!there.ok()) return Status(Code::kLogUnreachable, std::string(there.status().message()));
  if (there->entry == entry) return std::optional<Found>();
  return made;
}

inline Result<EntryStore::Found> EtcdStore::look(uint64_t offset) {
  using namespace etcd_detail;
  const std::string body =
      "{\"success\":[" + json_range(keys_.entry(offset)) + "," + json_range(keys_.head()) + "]}";
  auto found = members_.ask("/v3/kv/txn", body, [&](std::string_view answer) -> Result<Found> {
    auto txn = decode_etcd_txn(answer);
    KYRO_TRY(txn);
    return take_etcd_found(std::move(*txn), keys_, offset);
  });
  if (found.ok()) {
    seen_head_ = found->head;
    has_told_ = false;
  }
  return found;
}

inline Status EtcdStore::create_head(std::string_view head) {
  using namespace etcd_detail;
  const std::string body = "{\"compare\":[" + json_absent(keys_.head()) + "],\"success\":[" +
                           json_put(keys_.head(), head) + "]}";
  const Status made = members_.ask("/v3/kv/txn", body, decode_etcd_txn).status();
  if (made.code() != Code::kNoSpace) return made;
  const auto there = look(0);  // as in create()
  if (!there.ok()) return Status(Code::kLogUnreachable, std::string(there.status().message()));
  return there->head ? Status() : made;
}

inline Result<std::vector<EntryStore::Entry>> EtcdStore::read(uint64_t from, uint32_t count) {
  using namespace etcd_detail;
  const std::string body = "{" + json_bytes("key", keys_.entry(from)) + "," +
                           json_bytes("range_end", keys_.end()) + ",\"limit\":\"" +
                           std::to_string(std::clamp(count, 1u, kReadCountMax)) + "\"}";
  auto entries = members_.ask("/v3/kv/range", body,
                              [&](std::string_view answer) -> Result<std::vector<Entry>> {
                                auto range = decode_etcd_range(answer);
                                KYRO_TRY(range);
                                return take_etcd_entries(std::move(*range), keys_, from);
                              });
  if (!entries.ok() && members_.answer_was_too_large()) {
    return Status(Code::kTooLarge, std::string(entries.status().message()));
  }
  return entries;
}

inline Status EtcdStore::erase(uint64_t below) {
  using namespace etcd_detail;
  const std::string body = "{" + json_bytes("key", keys_.entry(0)) + "," +
                           json_bytes("range_end", keys_.entry(below)) + "}";
  return members_.ask("/v3/kv/deleterange", body, decode_etcd_txn).status();
}

inline Result<EntryStore::Usage> EtcdStore::usage() {
  return members_.ask("/v3/maintenance/status", "{}", decode_etcd_usage);
}

// ---- waiting ----

inline std::optional<std::string> EtcdStore::wait(uint64_t timeout_ms) {
  const uint64_t deadline_ns = monotonic_ns() + timeout_ms * 1'000'000;
  if (watch_ == nullptr || !watch_->has_begun() || watched_ != endpoint()) {
    begin_watch(deadline_ns);
    return {};
  }
  if (!told_head_) told_head_ = seen_head_;
  for (;;) {
    auto told = watch_->take();
    if (!told.ok()) return {};
    if (*told) {
      has_told_ = true;
      return told_head_ = std::move(*told);
    }
    if (sleep(deadline_ns)) continue;
    const bool is_deaf = monotonic_ns() >= deadline_ns && !has_told_ && told_head_ != seen_head_;
    if (is_deaf) watch_->close();
    return {};
  }
}

inline void EtcdStore::begin_watch(uint64_t deadline_ns) {
  const uint64_t may_begin_ns = begun_ns_ + kBeginPauseNs;
  watch_.reset();
  while (monotonic_ns() < may_begin_ns) {
    if (!sleep(std::min(deadline_ns, may_begin_ns)) && monotonic_ns() < may_begin_ns) return;
  }
  begun_ns_ = monotonic_ns();
  watched_ = endpoint();
  watch_ = std::make_unique<EtcdWatch>(members_.endpoint());
  told_head_.reset();
  const Status begun = watch_->begin(keys_.head(), members_.token(), members_.options().timeout_ms);
  if (!begun.ok()) watch_.reset();  // the next look finds another member, or a new token
}

inline bool EtcdStore::sleep(uint64_t deadline_ns) {
  const uint64_t now_ns = monotonic_ns();
  if (now_ns >= deadline_ns) return false;
  pollfd waiting[2] = {{wake_up_.fd(), POLLIN, 0}, {watch_ ? watch_->fd() : -1, POLLIN, 0}};
  constexpr uint64_t kLongestMs = 60'000;
  const uint64_t left_ms = std::min((deadline_ns - now_ns + 999'999) / 1'000'000, kLongestMs);
  const int ready = poll(waiting, 2, static_cast<int>(left_ms));
  if (ready > 0 && waiting[0].revents != 0) return wake_up_.clear(), false;
  return ready >= 0 || errno == EINTR;
}

}  // namespace kyro
