// GET /v1/scan, /v1/floor/K and /v1/ceil/K: the ordered reads, and the calls Scan and Nearest.
//
// A scan is a page {"items":[…],"complete":…,"next":…} or, where the client accepts
// application/x-ndjson, a line for each item and a trailer line without a key, or, for a call, a
// Record message for each. A page ends at its limit or at kPageBytesMax; lines and messages without
// a limit are the whole range. Everything in one answer is as of one moment, whose offset it has
// ("as_of": the log from there on is what came later); "complete" looks one live key further, so a
// page that ends the range says so.
//
// Thread rule: on the exchange's reactor; every step is a bounded slice. Ownership: the answers own
// their scans, a NearestTask disposes of itself.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/record_body.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/content.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"

namespace kyro {

// Bytes of records looked at before other connections get their turn.
inline constexpr uint64_t kScanSliceBytes = 256 * 1024;

// Keys in [first, end).
[[nodiscard]] inline ScanRange scan_range(uint64_t first, std::optional<uint64_t> end,
                                          bool reverse) {
  const Direction direction = reverse ? Direction::kDown : Direction::kUp;
  if (end == 0) return {1, 0, direction};  // nothing lies below 0
  return {first, end ? *end - 1 : ~uint64_t{0}, direction};
}

// Keys from parameter "start" on to before "end".
[[nodiscard]] inline Result<ScanRange> find_range(std::string_view query) {
  const auto start = find_number(query, "start");
  KYRO_TRY(start);
  const auto end = find_number(query, "end");
  KYRO_TRY(end);
  return scan_range(start->value_or(0), *end, false);
}

inline void append_as_of(std::string& out, const Moment& moment) {
  out += ",\"as_of\":";
  append_decimal(out, moment.bound);
}

enum class ScanForm : uint8_t { kPage, kLines, kMessages };

struct ScanQuery {
  static constexpr uint64_t kLimitDefault = 100;
  static constexpr uint64_t kLimitMax = 10'000;

  ScanRange range;
  std::optional<uint64_t> limit;  // none: the whole range
  bool is_clamped = false;        // more was asked for: the end of the page says "limit"
  bool keys_only = false;
  bool string_keys = false;
  ScanForm form = ScanForm::kPage;
};

[[nodiscard]] inline Result<ScanQuery> parse_scan(const HttpRequest& request) {
  const std::string_view query = request.query;
  const auto range = find_range(query);
  KYRO_TRY(range);
  const auto limit = find_limit(query);
  KYRO_TRY(limit);
  const auto reverse = find_switch(query, "reverse");
  KYRO_TRY(reverse);
  const auto keys_only = find_switch(query, "keys_only");
  KYRO_TRY(keys_only);
  const auto string_keys = find_string_keys(query);
  KYRO_TRY(string_keys);
  ScanQuery out;
  if (accepts_ndjson(request)) out.form = ScanForm::kLines;
  out.limit = *limit;
  if (!out.limit && out.form == ScanForm::kPage) out.limit = ScanQuery::kLimitDefault;
  out.is_clamped = out.limit > ScanQuery::kLimitMax;
  if (out.is_clamped) out.limit = ScanQuery::kLimitMax;
  out.range = *range;
  if (*reverse) out.range.direction = Direction::kDown;
  out.keys_only = *keys_only;
  out.string_keys = *string_keys;
  return out;
}

class ScanBody final : public SlicedBody {
 public:
  static constexpr uint64_t kPageBytesMax = 8 * kMiB;

  // REQUIRES: a pin until hold().
  ScanBody(Engine& engine, const ScanQuery& query)
      : engine_(engine),
        query_(query),
        moment_(engine.moment()),
        scan_(std::make_unique<Scan>(moment_, query.range)) {}

  const View* hold() override { return moment_.view; }

  Result<bool> write_slice(std::string& out, size_t budget_bytes) override {
    const size_t begin = out.size();
    const size_t end = begin + budget_bytes;
    if (!has_begun_ && is_page()) out += "{\"items\":[";
    has_begun_ = true;
    std::optional<uint64_t> next;  // the key that the page has no room for
    auto state = Scan::State::kStopped;
    if (record_.advance(out, end - begin)) {
      const auto advanced = engine_.advance(*scan_, kScanSliceBytes, [&](const RecordView& record) {
        if (page_is_full(page_bytes_ + out.size() - begin)) {
          next = record.header.key;
          return false;
        }
        if (!record_.is_done() || end - out.size() < kRoomBytesMin) return false;
        append(out, end, record);
        ++items_;
        return true;
      });
      KYRO_TRY(advanced);
      state = *advanced;
    }
    page_bytes_ += out.size() - begin;
    const bool is_end = state == Scan::State::kEnd || next;
    if (!is_end || !record_.is_done() || end - out.size() < kRoomBytesMin) return false;
    append_end(out, next);
    return true;
  }

  // A page that goes on with the key that would have come next.
  bool write_early_end(std::string& out, size_t budget_bytes) override {
    if (!record_.advance(out, budget_bytes)) return false;
    std::optional<uint64_t> next;
    const auto state = engine_.advance(*scan_, kScanSliceBytes, [&](const RecordView& record) {
      next = record.header.key;
      return false;
    });
    if (!state.ok() || *state == Scan::State::kPaused) return false;
    append_end(out, next);
    return true;
  }

 private:
  // What a small record becomes, and what stands around it.
  static constexpr size_t kRoomBytesMin = RecordEncoder::kSmallRecordBytesMax;

  [[nodiscard]] bool page_is_full(uint64_t page_bytes) const {
    if (!query_.limit) return false;
    return items_ >= *query_.limit ||
           (query_.form != ScanForm::kMessages && page_bytes >= kPageBytesMax);
  }
  [[nodiscard]] bool is_page() const { return query_.form == ScanForm::kPage; }

  // Appends a record, or as much of it as has room.
  void append(std::string& out, size_t end, const RecordView& record) {
    const RecordHeader& header = record.header;
    if (query_.form == ScanForm::kMessages) return append_message(out, end, record);
    const uint64_t expires_secs = engine_.to_unix(header.expiry_secs());
    if (is_page() && items_ != 0) out += ',';
    if (query_.keys_only) {
      append_key_item(out, header.key, header.offset, query_.string_keys, expires_secs);
    } else if (RecordEncoder::is_small(record.value)) {
      append_item(out, header.key, record.value, header.offset, query_.string_keys, expires_secs);
    } else {
      record_.begin_item(header.key, record.value, header.offset, query_.string_keys, expires_secs);
      if (!is_page()) record_.add_tail("\n");
      static_cast<void>(record_.advance(out, end - out.size()));
      return;
    }
    if (!is_page()) out += '\n';
  }

  void append_message(std::string& out, size_t end, const RecordView& record) {
    const std::string_view value = query_.keys_only ? std::string_view() : record.value;
    rpc::ValueMessage message = rpc::record_message(record.header.key, record.header.offset,
                                                    engine_.to_unix(record.header.expiry_secs()));
    const std::string_view head = message.framed(rpc::kRecordValue, value.size());
    if (RecordEncoder::is_small(value)) {
      out.append(head).append(value);
      return;
    }
    record_.begin_raw(value);
    record_.add_head(head);
    static_cast<void>(record_.advance(out, end - out.size()));
  }

  void append_end(std::string& out, std::optional<uint64_t> next) const {
    if (query_.form == ScanForm::kMessages) return;
    out += query_.form == ScanForm::kLines ? "{\"complete\":" : "],\"complete\":";
    out += next ? "false,\"next\":" : "true";
    if (next) {
      // The bound that is given next is inclusive upwards, exclusive downwards. There is a larger
      // key then, so adding one does not wrap.
      const bool is_up = query_.range.direction == Direction::kUp;
      append_json_u64(out, is_up ? *next : *next + 1, query_.string_keys);
    }
    if (next && query_.is_clamped) {
      out += ",\"limit\":";
      append_decimal(out, *query_.limit);
    }
    append_as_of(out, moment_);
    out += query_.form == ScanForm::kLines ? "}\n" : "}";
  }

  Engine& engine_;
  const ScanQuery query_;
  const Moment moment_;  // what of it is read, the scan holds
  const std::unique_ptr<Scan> scan_;
  RecordEncoder record_;  // a large one, of the scan's
  uint64_t items_ = 0;
  uint64_t page_bytes_ = 0;
  bool has_begun_ = false;
};

inline void respond_scan(Engine& engine, Exchange& x, const StreamRules& rules) {
  const auto query = parse_scan(x.request());
  if (!query.ok()) return respond_status(x, query.status());
  respond_sliced(x, query->form == ScanForm::kLines ? "application/x-ndjson" : kJsonType,
                 std::make_unique<ScanBody>(engine, *query), rules);
}

// Finds the nearest live key in slices: there may be many tombstones before it.
class NearestTask final : public WaitingTask {
 public:
  // Downwards: floor; upwards: ceil.
  static void start(Engine& engine, Exchange& x, uint64_t key, Direction direction,
                    const StreamRules& rules) {
    ScanRange range{key, ~uint64_t{0}, direction};
    if (direction == Direction::kDown) range = {0, key, direction};
    const auto string_keys = find_string_keys(x.request().query);  // none in a call
    if (!string_keys.ok()) return respond_status(x, string_keys.status());
    auto task = std::unique_ptr<NearestTask>(new NearestTask(engine, range, *string_keys, rules));
    if (task->answer(x)) return;
    task->rules_.permit = rules.access.permit(x.request());  // which is gone later
    task.release()->go_on(x);
  }

  void run(Exchange* x) override {
    std::unique_ptr<NearestTask> self(this);
    if (x == nullptr) return;
    if (is_abandoned_) return respond_status(*x, Status(Code::kBusy, kHungUp));
    if (!answer(*x)) self.release()->go_on(*x);
  }

  void on_abandoned() override { is_abandoned_ = true; }  // it has been posted

 private:
  NearestTask(Engine& engine, const ScanRange& range, bool string_keys, const StreamRules& rules)
      : engine_(engine), rules_(rules), scan_(engine.open_scan(range)), string_keys_(string_keys) {}

  void go_on(Exchange& x) {
    x.defer(this);
    post();
  }

  // One slice; false if there must be another.
  bool answer(Exchange& x) {
    RecordView found;
    const auto state = engine_.advance(*scan_, kScanSliceBytes, [&](const RecordView& record) {
      found = record;
      return false;
    });
    if (!state.ok()) {
      respond_status(x, state.status());
    } else if (*state == Scan::State::kStopped && rpc::is_call(x)) {
      const RecordHeader& header = found.header;
      rpc::ValueMessage message =
          rpc::record_message(header.key, header.offset, engine_.to_unix(header.expiry_secs()));
      respond_value_message(
          x, message.framed(rpc::kRecordValue, found.value.size()), found.value,
          [this] { return hold_value(std::move(scan_), true, engine_, rules_.moments); });
    } else if (*state == Scan::State::kStopped) {
      const uint64_t expiry_secs = found.header.expiry_secs();
      add_etag(x, found.header.offset);
      if (expiry_secs != 0) add_expires(x, expiry_secs, engine_.now_secs());
      respond_record(x, found.header.key, found.value, found.header.offset, expiry_secs,
                     string_keys_, engine_, rules_, [this] { return std::move(scan_); });
    } else if (*state == Scan::State::kEnd) {
      respond_status(x, Status(Code::kNotFound));
    } else {
      return false;
    }
    return true;
  }

  Engine& engine_;
  StreamRules rules_;
  std::unique_ptr<Scan> scan_;
  const bool string_keys_;
  bool is_abandoned_ = false;
};

}  // namespace kyro
