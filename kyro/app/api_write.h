// Writes over HTTP: from the request to the committer and back to the reactor.
//
// A PendingWrite is both ends of the trip: the engine's WriteRequest (done() on the committer's
// thread only posts it) and the server's Task (run() on the reactor answers). It owns a copy of the
// value, because the request's bytes are gone once the handler has deferred.
//
// Order: a write that asks for the current version may come back and be submitted again, behind
// what its connection has sent since. So nobody submits a write of a key while an earlier one of
// the same connection is open that way: see must_wait().
//
// Ownership: made with new, disposes of itself in run().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kyro/app/reply.h"
#include "kyro/net/http_handler.h"
#include "kyro/storage/engine.h"

namespace kyro {

class PendingWrite final : public Task, public WriteRequest {
 public:
  enum class Kind : uint8_t {
    kPut,       // POST /v1/put: 200 and the offset
    kKvPut,     // PUT /v1/kv: 201 created or 204 replaced
    kKvDelete,  // DELETE /v1/kv: 204, or 404 if nothing was there
  };

  // Whether a write of `key` has to wait for earlier requests of its connection: then on_request()
  // is called again. (Another connection's open write costs a wait that was not needed.)
  [[nodiscard]] static bool must_wait(Exchange& exchange, uint64_t key) {
    return exchange.has_pending_before() && open_keys().contains(key) &&
           exchange.wait_for_earlier();
  }

  // Hands a write over; the exchange answers once its group has an outcome.
  static void start(Engine& engine, Exchange& exchange, Kind kind, uint64_t key,
                    std::string_view value) {
    auto* write = new PendingWrite(engine, kind, key, value);
    if (const Status fits = engine.check({&write->mutation_, 1}); !fits.ok()) {
      delete write;
      respond_status(exchange, fits);
      return;
    }
    exchange.defer(write);
    if (kind != Kind::kPut) write->open();
    write->submit();
  }

  void done() override { post(); }

  void run(Exchange* exchange) override {
    std::unique_ptr<PendingWrite> self(this);
    if (exchange != nullptr && is_stale) {
      is_stale = false;
      exchange->defer(this);
      self.release()->submit();
      return;
    }
    close();
    if (exchange == nullptr) return;  // whether it was committed or not, nobody is left to hear it
    if (!status.ok()) return respond_status(*exchange, status);
    switch (kind_) {
      case Kind::kPut:
        return respond_offset(*exchange, offset);
      case Kind::kKvPut:
        add_etag(*exchange, offset);
        return exchange->respond(existed ? 204 : 201, {}, {});
      case Kind::kKvDelete:
        add_etag(*exchange, offset);
        return exchange->respond(204, {}, {});
    }
  }

 private:
  PendingWrite(Engine& engine, Kind kind, uint64_t key, std::string_view value)
      : engine_(engine), kind_(kind), value_(value) {
    mutation_ = kind == Kind::kKvDelete ? Mutation::remove(key) : Mutation::put(key, value_);
    mutations = {&mutation_, 1};
  }

  // The keys of writes that may be submitted again, each with their number. One table a reactor.
  static std::unordered_map<uint64_t, uint32_t>& open_keys() {
    static thread_local std::unordered_map<uint64_t, uint32_t> keys;
    return keys;
  }
  void open() { ++open_keys()[mutation_.key]; }
  void close() {
    if (kind_ == Kind::kPut) return;
    const auto it = open_keys().find(mutation_.key);
    if (it != open_keys().end() && --it->second == 0) open_keys().erase(it);
  }

  // On the reactor: resolves what the write needs to know of the current version, then submits.
  void submit() {
    wants_current = kind_ != Kind::kPut;
    guard = kind_ == Kind::kKvDelete ? WriteGuard::kMustExist : WriteGuard::kNone;
    if (wants_current && !engine_.resolve_base(mutation_.key, &base).ok()) {
      // The current version is damaged: it is there, and being replaced or removed mends that.
      wants_current = false;
      guard = WriteGuard::kNone;
      existed = true;
    }
    engine_.submit(this);
  }

  Engine& engine_;
  const Kind kind_;
  const std::string value_;
  Mutation mutation_;
};

}  // namespace kyro
