// What stands behind kyro/kyro.h: compiled once into the library (libkyrodb.cpp), or, with
// KYRO_HEADER_ONLY, inline into every program that includes that.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/epoch.h"
#include "kyro/base/status.h"
#include "kyro/embed/batch.h"
#include "kyro/embed/bulk_loader.h"
#include "kyro/embed/reader.h"
#include "kyro/embed/store.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/offline/loader.h"
#include "kyro/storage/record.h"
#include "kyro/storage/view.h"

#ifdef KYRO_HEADER_ONLY
#define KYRO_DEFINE inline
#else
#define KYRO_DEFINE
#endif

namespace kyro {

// ---- batches ----

struct BatchState {
  // A value lies in `bytes`, which moves when it grows.
  struct Write {
    Mutation mutation;
    size_t begin;
    size_t value_bytes;
  };

  std::vector<Write> writes;
  std::vector<Condition> conditions;
  std::string bytes;

  [[nodiscard]] std::vector<Mutation> mutations() const {
    std::vector<Mutation> out;
    out.reserve(writes.size());
    for (const Write& write : writes) {
      out.push_back(write.mutation);
      out.back().value = std::string_view(bytes).substr(write.begin, write.value_bytes);
    }
    return out;
  }
};

KYRO_DEFINE void destroy(BatchState* state) noexcept {
  delete state;
}

KYRO_DEFINE Batch::Batch() : state_(new BatchState()) {}

KYRO_DEFINE Batch& Batch::put(uint64_t key, std::string_view value, uint64_t expiry_secs) {
  const size_t begin = state_->bytes.size();
  state_->writes.push_back({Mutation::put(key, value, expiry_secs), begin, value.size()});
  state_->bytes.append(value);
  return *this;
}

KYRO_DEFINE Batch& Batch::remove(uint64_t key) {
  state_->writes.push_back({Mutation::remove(key), 0, 0});
  return *this;
}

KYRO_DEFINE Batch& Batch::require_exists(uint64_t key) {
  state_->conditions.push_back(Condition::exists(key));
  return *this;
}

KYRO_DEFINE Batch& Batch::require_absent(uint64_t key) {
  state_->conditions.push_back(Condition::absent(key));
  return *this;
}

KYRO_DEFINE Batch& Batch::require_version(uint64_t key, uint64_t offset) {
  state_->conditions.push_back(Condition::version(key, offset));
  return *this;
}

KYRO_DEFINE void Batch::clear() {
  state_->writes.clear();
  state_->conditions.clear();
  state_->bytes.clear();
}

KYRO_DEFINE size_t Batch::writes() const {
  return state_->writes.size();
}

// ---- reading as of one moment ----

// Reads ahead in slices, so that a record costs neither a search nor a call.
struct IteratorState {
  // The first slice is small: many who iterate look at a few records only.
  static constexpr uint64_t kFirstSliceBytes = 2 * kKiB;
  static constexpr uint64_t kSliceBytesMax = 64 * kKiB;

  IteratorState(Engine& owner, const Moment& moment, const ScanRange& range)
      : engine(owner), scan(moment, range) {}

  Engine& engine;
  Scan scan;
  std::vector<Entry> slice = {};
  uint64_t slice_bytes = kFirstSliceBytes;
  bool is_at_end = false;
  Status status = {};
};

struct ReaderState {
  Engine& engine;
  Moment moment;  // held
};

KYRO_DEFINE void destroy(IteratorState* state) noexcept {
  delete state;
}

KYRO_DEFINE void destroy(ReaderState* state) noexcept {
  delete state;
}

KYRO_DEFINE Status Iterator::status() const {
  return state_->status;
}

// Of a slice that ends in damage the records before it are handed out first.
KYRO_DEFINE const Entry* Iterator::next_slice() {
  IteratorState& state = *state_;
  state.slice.clear();
  while (state.slice.empty() && !state.is_at_end) {
    const auto advanced =
        state.engine.advance(state.scan, state.slice_bytes, [&](const RecordView& record) {
          const RecordHeader& header = record.header;
          state.slice.push_back({header.key, header.offset,
                                 state.engine.to_unix(header.expiry_secs()), record.value, true});
          return true;
        });
    state.slice_bytes = std::min(2 * state.slice_bytes, IteratorState::kSliceBytesMax);
    state.status = advanced.status();
    state.is_at_end = !advanced.ok() || *advanced == Scan::State::kEnd;
  }
  next_ = state.slice.data();
  end_ = next_ + state.slice.size();
  return next_ != end_ ? next_++ : nullptr;
}

KYRO_DEFINE Status Reader::get(std::span<const uint64_t> keys, std::span<Entry> entries) const {
  KYRO_CHECK(keys.size() == entries.size());
  const Engine& engine = state_->engine;
  return state_->engine.multi_get(state_->moment, keys, [&](size_t i, const Lookup* found) {
    entries[i] = found == nullptr
                     ? Entry{keys[i], 0, 0, {}, false}
                     : Entry{keys[i], found->offset(), engine.to_unix(found->expiry_secs()),
                             found->value(), true};
    return true;
  });
}

KYRO_DEFINE Status Reader::get(uint64_t key, Entry* entry) const {
  const Status status = get({&key, 1}, {entry, 1});
  return status.ok() && !entry->is_found ? Status(Code::kNotFound) : status;
}

KYRO_DEFINE Iterator Reader::iterate(const ScanRange& range) const {
  return Iterator(new IteratorState(state_->engine, state_->moment, range));
}

// ---- loading ----

KYRO_DEFINE void destroy(Loader* loader) noexcept {
  delete loader;
}

KYRO_DEFINE Result<BulkLoader> BulkLoader::begin(const std::string& directory,
                                                 uint64_t memory_bytes) {
  static PosixFileSystem posix;
  auto loader = Loader::begin(posix, directory, {.memory_bytes = memory_bytes});
  KYRO_TRY(loader);
  return BulkLoader(loader->release());
}

KYRO_DEFINE Status BulkLoader::put(uint64_t key, std::string_view value, uint64_t expiry_secs) {
  return loader_->put(key, value, expiry_secs);
}

KYRO_DEFINE Status BulkLoader::remove(uint64_t key) {
  return loader_->remove(key);
}

KYRO_DEFINE Result<uint64_t> BulkLoader::finish() {
  const auto stats = loader_->finish();
  KYRO_TRY(stats);
  return stats->live_records;
}

// ---- the store ----

KYRO_DEFINE void destroy(Engine* engine) noexcept {
  delete engine;
}

KYRO_DEFINE Result<Store> Store::open(Options options) {
  auto engine = Engine::open(std::move(options));
  KYRO_TRY(engine);
  return Store(engine->release());
}

KYRO_DEFINE Result<uint64_t> Store::put(uint64_t key, std::string_view value,
                                        uint64_t expiry_secs) {
  return engine_->put(key, value, expiry_secs);
}

KYRO_DEFINE Result<uint64_t> Store::put_if_absent(uint64_t key, std::string_view value,
                                                  uint64_t expiry_secs) {
  return engine_->put_if(Condition::absent(key), value, expiry_secs);
}

KYRO_DEFINE Result<uint64_t> Store::put_if_version(uint64_t key, uint64_t offset,
                                                   std::string_view value, uint64_t expiry_secs) {
  return engine_->put_if(Condition::version(key, offset), value, expiry_secs);
}

KYRO_DEFINE Result<uint64_t> Store::remove(uint64_t key) {
  return engine_->remove(key);
}

KYRO_DEFINE Result<uint64_t> Store::remove_if_version(uint64_t key, uint64_t offset) {
  return engine_->remove_if(Condition::version(key, offset));
}

KYRO_DEFINE Result<uint64_t> Store::write(const Batch& batch) {
  return engine_->write(batch.state_->mutations(), batch.state_->conditions);
}

KYRO_DEFINE Status Store::get(uint64_t key, std::string* value) const {
  return engine_->get(key, value);
}

KYRO_DEFINE Status Store::get(uint64_t key, Record* record) const {
  const EpochPin pin;
  Lookup found;
  KYRO_TRY(engine_->lookup(key, &found));
  record->key = key;
  record->offset = found.offset();
  record->expiry_secs = engine_->to_unix(found.expiry_secs());
  record->value.assign(found.value());
  return Status();
}

KYRO_DEFINE Status Store::get(uint64_t key, char* buffer, size_t room, Entry* entry) const {
  const EpochPin pin;
  Lookup found;
  KYRO_TRY(engine_->lookup(key, &found));
  const std::string_view value = found.value();
  *entry = {key, found.offset(), engine_->to_unix(found.expiry_secs()),
            std::string_view(buffer, value.size()), true};
  if (value.size() > room) {
    return Status(Code::kTooLarge, "the value has " + std::to_string(value.size()) +
                                       " bytes, there is room for " + std::to_string(room));
  }
  if (!value.empty()) std::memcpy(buffer, value.data(), value.size());
  return Status();
}

// The first of an iteration.
[[nodiscard]] inline Status first_of(Iterator records, Record* record) {
  const Entry* entry = records.next();
  if (entry == nullptr) {
    const Status status = records.status();
    return status.ok() ? Status(Code::kNotFound) : status;
  }
  *record = {entry->key, entry->offset, entry->expiry_secs, std::string(entry->value)};
  return Status();
}

KYRO_DEFINE Status Store::floor(uint64_t key, Record* record) const {
  return first_of(iterate({0, key, Direction::kDown}), record);
}

KYRO_DEFINE Status Store::ceil(uint64_t key, Record* record) const {
  return first_of(iterate({key, ~uint64_t{0}, Direction::kUp}), record);
}

KYRO_DEFINE Reader Store::reader() const {
  const EpochPin pin;
  Moment moment = engine_->moment();
  moment.hold();
  return Reader(new ReaderState{*engine_, std::move(moment)});
}

KYRO_DEFINE Iterator Store::iterate(const ScanRange& range) const {
  const EpochPin pin;
  return Iterator(new IteratorState(*engine_, engine_->moment(), range));
}

KYRO_DEFINE Status Store::snapshot() {
  return engine_->snapshot();
}

KYRO_DEFINE Status Store::compact() {
  return engine_->compact();
}

KYRO_DEFINE Status Store::backup(const std::string& to) {
  return engine_->backup(to);
}

KYRO_DEFINE Statistics Store::statistics() const {
  const EngineStats& stats = engine_->stats();
  const View view = engine_->view();
  return {
      .keys_estimate = estimate_keys(view),
      .next_offset = engine_->next_offset(),
      .runs = view.runs.size(),
      .is_read_only = engine_->latch().is_set() ? uint64_t{1} : 0,
      .disk_free_bytes = engine_->disk_free_bytes(),
      .disk_size_bytes = engine_->disk_size_bytes(),
      .appends = stats.appends.value(),
      .deletes = stats.deletes.value(),
      .reads_from_delta = stats.reads_from_delta.value(),
      .reads_from_runs = stats.reads_from_runs.value(),
      .read_misses = stats.read_misses.value(),
      .fsyncs = stats.fsync_ns.snapshot().count,
      .snapshots = stats.snapshots.value(),
      .compactions = stats.compactions.value(),
      .corruptions = stats.corruptions.value(),
      .log_written_bytes = stats.wal_written_bytes.value(),
      .run_written_bytes = stats.run_written_bytes.value(),
      .compaction_written_bytes = stats.compaction_written_bytes.value(),
  };
}

KYRO_DEFINE const std::string& Store::id() const {
  return engine_->database_id();
}

KYRO_DEFINE const Options& Store::options() const {
  return engine_->options();
}

}  // namespace kyro
