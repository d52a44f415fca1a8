// GET /v1/count, and the call Count: how many live keys a range has, as of one moment.
//
// Exact, so every record of the range is looked at, in slices, as a scan of it would; the answer
// has the offset of the moment. A count ends with its client, which sliced_body.h sees to, with its
// token, and where it would hold too much of the past (held_moments.h).
//
// Thread rule: on the exchange's reactor. Ownership: the answer owns its scan.
#pragma once

#include <memory>
#include <string>

#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/scan.h"
#include "kyro/storage/engine.h"

namespace kyro {

class CountBody final : public SlicedBody {
 public:
  // REQUIRES: a pin until hold().
  CountBody(Engine& engine, const ScanRange& range, bool is_call)
      : engine_(engine), is_call_(is_call), moment_(engine.moment()), scan_(moment_, range) {}

  const View* hold() override { return moment_.view; }

  // Nothing is written before the end.
  Result<bool> write_slice(std::string& out, size_t) override {
    const auto state = engine_.advance(scan_, kScanSliceBytes, [this](const RecordView&) {
      ++count_;
      return true;
    });
    KYRO_TRY(state);
    if (*state != Scan::State::kEnd) return false;
    if (is_call_) {
      out += rpc::numbers_message({count_, moment_.bound});
      return true;
    }
    out += "{\"count\":";
    append_decimal(out, count_);
    append_as_of(out, moment_);
    out += '}';
    return true;
  }

 private:
  Engine& engine_;
  const bool is_call_;
  const Moment moment_;  // what of it is read, the scan holds
  Scan scan_;
  uint64_t count_ = 0;
};

inline void respond_count(Engine& engine, Exchange& x, const StreamRules& rules) {
  const auto range = find_range(x.request().query);
  if (!range.ok()) return respond_status(x, range.status());
  respond_sliced(x, kJsonType, std::make_unique<CountBody>(engine, *range, false), rules);
}
inline void respond_count_call(Engine& engine, Exchange& x, const ScanRange& range,
                               const StreamRules& rules) {
  respond_sliced(x, rpc::kCallType, std::make_unique<CountBody>(engine, range, true), rules);
}

}  // namespace kyro
