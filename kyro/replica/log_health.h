// How a store stands to its shared log: whether it answers, what has stopped it for good and what
// somebody can do about that, and how far its own appends go.
//
// A stop is final until the process is started again: the log and the store have grown apart, and
// nothing that comes after may be applied or written, whatever the log looks like later. Reads of
// what is here go on.
//
// Thread rule: any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/log/log.h"
#include "kyro/base/mutex.h"
#include "kyro/base/status.h"

namespace kyro {

class LogHealth {
 public:
  // What an outcome of a call or of a judgement says of it. Returns the status for whoever waits:
  // kLogUnreachable, or what only concerns one append: kNoSpace, kTooLarge.
  Status note(const Status& status) {
    if (status.code() == Code::kNoSpace || status.code() == Code::kTooLarge) return status;
    if (status.code() == Code::kLogUnreachable) {
      is_up_.store(false, std::memory_order_relaxed);
      return status;
    }
    if (status.ok()) {
      is_up_.store(true, std::memory_order_relaxed);
      return status;
    }
    const MutexLock lock(mutex_);
    if (!is_stopped_.load(std::memory_order_relaxed)) {
      reason_ = status;
      is_stopped_.store(true, std::memory_order_release);
      log_event(LogLevel::kError, "log_stopped",
                {{"reason", stop_word(status.code())}, {"what", status.message()}});
    }
    return stopped_status();
  }

  // The committer appends a group that ends there. What the log has up to there is its business,
  // whosever it is: it learns of it by the answer.
  void note_append(uint64_t end) { append_end_.store(end, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t append_end() const { return append_end_.load(std::memory_order_relaxed); }

  // The last call had an answer.
  [[nodiscard]] bool is_up() const { return is_up_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_stopped() const { return is_stopped_.load(std::memory_order_acquire); }
  // Ok, or kLogUnreachable with the reason.
  [[nodiscard]] Status check() const {
    if (!is_stopped()) return Status();
    const MutexLock lock(mutex_);
    return stopped_status();
  }
  // What has stopped it and how to go on, in sentences; empty while nothing has.
  [[nodiscard]] std::string reason() const {
    if (!is_stopped()) return {};
    const MutexLock lock(mutex_);
    return sentences();
  }
  // One word, "none" while nothing has stopped it; for /ready.
  [[nodiscard]] std::string_view reason_word() const {
    if (!is_stopped()) return "none";
    const MutexLock lock(mutex_);
    return stop_word(reason_.code());
  }

  // The words there are.
  static constexpr std::array<std::string_view, 6> kStopWords{
      "log_trimmed", "log_missing", "log_foreign", "log_behind", "log_newer", "log_broken"};

 private:
  static std::string_view stop_word(Code code) {
    switch (code) {
      case Code::kGone:
        return "log_trimmed";
      case Code::kNotFound:
        return "log_missing";
      case Code::kInvalid:
        return "log_foreign";
      case Code::kExists:
        return "log_behind";
      case Code::kUnsupported:
        return "log_newer";
      default:
        return "log_broken";
    }
  }
  static std::string_view advice(Code code) {
    switch (code) {
      case Code::kGone:
        return "start it anew from a backup of another replica: kyrodb restore --replica";
      case Code::kNotFound:
        return "begin the log from a store that has the data: kyrodb log init";
      case Code::kInvalid:
        return "the name of the log in --log, or the data directory, is the wrong one";
      case Code::kUnsupported:
        return "upgrade this server";
      default:
        return "decide which past counts, and begin the log anew from the replica that has it: "
               "kyrodb log init";
    }
  }
  std::string sentences() const KYRO_REQUIRES(mutex_) {
    return "this store has left the shared log: " + std::string(reason_.message()) + "; " +
           std::string(advice(reason_.code()));
  }
  Status stopped_status() const KYRO_REQUIRES(mutex_) {
    return Status(Code::kLogUnreachable, sentences());
  }

  mutable Mutex mutex_;
  Status reason_ KYRO_GUARDED_BY(mutex_);
  std::atomic<bool> is_stopped_{false};
  std::atomic<bool> is_up_{true};
  std::atomic<uint64_t> append_end_{0};
};

}  // namespace kyro
