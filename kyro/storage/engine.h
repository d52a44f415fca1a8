// The engine: what an embedding program and the routes use.
//
//   auto db = kyro::Engine::open({.data_dir = "data"});      // Result<std::unique_ptr<Engine>>
//   (*db)->put(123, "hello");                                // Result<offset>, durable on return
//   std::string value; (*db)->get(123, &value);              // ok, not_found, corruption, …
//
// Reads take no lock: they pin an epoch, look into one immutable view and verify the checksum of
// what they return. Writes go to the committer and come back when their group has its outcome.
//
// Thread rule: every public function from any thread. Ownership: the Engine owns its threads and
// files; destroying it seals the log. Nothing may be submitted or read once destruction begins.
#pragma once

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/epoch.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/background/maintenance.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/job.h"
#include "kyro/storage/read/log_reader.h"
#include "kyro/storage/read/lookup.h"
#include "kyro/storage/read/multi_get.h"
#include "kyro/storage/read/scan.h"
#include "kyro/storage/recovery.h"
#include "kyro/storage/stall_watch.h"
#include "kyro/storage/write/committer.h"
#include "kyro/storage/write/makes_room.h"
#include "kyro/storage/write/request_limits.h"

namespace kyro {

class Engine {
 public:
  // Opens or creates a store. Errors: kBusy (another process has it, or no threads), kCorruption
  // (refused, with file and position), kUnsupported (a newer format), kIoError, kInvalid (options).
  // `progress`, if given, is updated while the log is replayed, and can give it up (kBusy).
  [[nodiscard]] static Result<std::unique_ptr<Engine>> open(Options options,
                                                            RecoveryProgress* progress = nullptr);

  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    if (committer_ == nullptr) return;
    maintenance_.stop();
    committer_->stop();
    state_.spare_segment.stop();
    if (state_.latch.is_set()) return;
    // The last manifest tells the next start how far the log was durable. Without it the seal does.
    const MutexLock lock(state_.manifest_mutex);
    static_cast<void>(state_.commit_manifest(state_.manifest));
  }

  // ---- writes ----

  // Stores a value; the offset is its version. `expiry_secs` is Unix time (0: never): what is left
  // until then by the system's clock is measured by the store's from here on, whatever becomes of
  // the system's. Errors: kTooLarge, kNoSpace, kReadOnly.
  Result<uint64_t> put(uint64_t key, std::string_view value, uint64_t expiry_secs = 0) {
    const Mutation mutation = Mutation::put(key, value, expiry_secs);
    return write({&mutation, 1});
  }

  // The same if the condition holds for its key at the moment of the commit, else
  // kPreconditionFailed; of several that race for one version, one wins. For example
  //   put_if(Condition::absent(7), "new"), put_if(Condition::version(7, offset), "changed")
  Result<uint64_t> put_if(const Condition& condition, std::string_view value,
                          uint64_t expiry_secs = 0) {
    const Mutation mutation = Mutation::put(condition.key, value, expiry_secs);
    return write({&mutation, 1}, {&condition, 1});
  }

  // Removes a key; kNotFound, and no offset is taken, if it is not there.
  Result<uint64_t> remove(uint64_t key) { return remove_if(Condition{.key = key}); }
  // kPreconditionFailed comes before kNotFound.
  Result<uint64_t> remove_if(Condition condition) {
    condition.must_be_found = true;
    const Mutation mutation = Mutation::remove(condition.key);
    return write({&mutation, 1}, {&condition, 1});
  }

  // Commits several mutations together: all or none of them, with consecutive offsets; returns the
  // last one's. Later mutations of a key win. The conditions, of whatever keys, are judged against
  // the state before it; kCorruption if the current version of one of these keys is damaged.
  Result<uint64_t> write(std::span<const Mutation> mutations,
                         std::span<const Condition> conditions = {});

  // The asynchronous form; see WriteRequest for who owns what until done(). Expiries are
  // now_secs() and a lifetime.
  void submit(WriteRequest* request) {
    judge_room(request);
    committer_->submit(request);
  }
  // The same for a thread that hands over several and must not sleep, see Committer::enqueue().
  void enqueue(WriteRequest* request) {
    judge_room(request);
    committer_->enqueue(request);
  }
  void commit_enqueued() { committer_->commit_enqueued(); }

  // Whether mutations respect the configured limits; kInvalid for an empty batch.
  Status check(std::span<const Mutation> mutations) const {
    return check_request_limits(options(), mutations);
  }

  // Applies a group of the log that the store shares, from that log's first that is not here.
  // kCorruption: it is not that one.
  Status take(const SharedGroup& theirs) {
    BlockingWrite request;
    request.control = WriteRequest::Control::kTake;
    request.taken = &theirs;
    committer_->commit(&request);
    return request.status;
  }

  // Finds the version of its key that a condition is judged against; kCorruption if it is damaged.
  Status resolve_base(Condition* condition);

  // The time by which lifetimes are measured (lifetime_clock.h), in seconds: Unix time until
  // somebody steps the system's clock. It never goes back.
  [[nodiscard]] uint64_t now_secs() const { return state_.clock.now_secs(); }
  // An expiry as Unix time (0: never) by the clocks as they are now, and back.
  [[nodiscard]] uint64_t to_unix(uint64_t expiry_secs) const {
    return state_.clock.to_unix(expiry_secs);
  }
  [[nodiscard]] uint64_t from_unix(uint64_t unix_secs) const {
    return std::min(state_.clock.from_unix(unix_secs), kExpirySecsMax);
  }

  // ---- reads ----

  // The live value of `key`; its holder() keeps it beyond the pin, its expiry is by now_secs().
  // REQUIRES: the calling thread holds an EpochPin. Errors: kNotFound, kCorruption.
  Status lookup(uint64_t key, Lookup* out) {
    *out = find_live(key);
    return out->has_record() ? Status() : no_value(*out);
  }

  // Copies the value of `key`; `offset`, if given, receives its version.
  Status get(uint64_t key, std::string* value, uint64_t* offset = nullptr) {
    const EpochPin pin;
    const Lookup found = find_live(key);
    if (!found.has_record()) return no_value(found);
    copy_value(found.value(), value);
    if (offset != nullptr) *offset = found.offset();
    return Status();
  }

  // Now, as a long read sees it. REQUIRES: the calling thread holds an EpochPin until the read is
  // over, or until hold().
  [[nodiscard]] Moment moment() const {
    Moment now;
    const uint64_t visible = state_.visible.load(std::memory_order_acquire);
    now.view = state_.view.load(std::memory_order_acquire);
    now.bound = now.view->bound(visible);
    now.now_secs = state_.clock.now_secs();
    return now;
  }

  // Fetches into the caches what lookups of these keys (at most MultiGet::kChunk) will read.
  // REQUIRES: the calling thread holds an EpochPin.
  void prefetch(std::span<const uint64_t> keys) const { MultiGet(moment()).fetch(keys); }

  // Calls visit(i, lookup) for each keys[i], i ascending, until it returns false; lookup is null
  // where there is no live value, else valid as after lookup() (in any case during the call). All
  // of it is one moment. kCorruption at the first damaged record: the keys before it were visited.
  template <class Visit>
  Status multi_get(std::span<const uint64_t> keys, Visit visit) {
    const EpochPin pin;
    return multi_get(moment(), keys, std::move(visit));
  }
  template <class Visit>
  Status multi_get(const Moment& moment, std::span<const uint64_t> keys, Visit visit) {
    uint64_t from_delta = 0;
    uint64_t from_runs = 0;
    uint64_t misses = 0;
    const Status status = MultiGet(moment).run(keys, [&](size_t i, const Lookup& found) {
      if (!found.has_record() || !meta_is_live(found.meta(), [&] { return moment.now_secs; })) {
        ++misses;
        return visit(i, static_cast<const Lookup*>(nullptr));
      }
      ++(found.source() == Source::kDelta ? from_delta : from_runs);
      return visit(i, &found);
    });
    state_.stats.reads_from_delta.add(from_delta);
    state_.stats.reads_from_runs.add(from_runs);
    state_.stats.read_misses.add(misses);
    return status.ok() ? status : report_damage(*moment.view, status);
  }

  // An ordered read in slices, as of now. It needs no pin once it is made.
  [[nodiscard]] std::unique_ptr<Scan> open_scan(const ScanRange& range) const {
    const EpochPin pin;
    return std::make_unique<Scan>(moment(), range);
  }
  // Scan::advance(), with damage counted and logged.
  template <class Visit>
  [[nodiscard]] Result<Scan::State> advance(Scan& scan, uint64_t budget_bytes, Visit visit) {
    auto state = scan.advance(budget_bytes, std::move(visit));
    if (state.ok()) return state;
    if (const Run* run = scan.damaged_run()) rebuild_if_damaged(*run);
    return report_damage(state.status());
  }

  // Calls visit(key, value, offset) for the live keys in [first, last], ascending, until it returns
  // false. All of it is one moment. The values are valid during the call.
  template <class Visit>
  Status scan(uint64_t first, uint64_t last, Visit visit) {
    return scan(ScanRange{first, last}, std::move(visit));
  }
  template <class Visit>
  Status scan(const ScanRange& range, Visit visit) {
    const auto scan = open_scan(range);
    constexpr uint64_t kUnbounded = ~uint64_t{0};
    return advance(*scan, kUnbounded,
                   [&](const RecordView& record) {
                     return visit(record.header.key, record.value, record.header.offset);
                   })
        .status();
  }

  // The live key nearest to `key` that is not larger (floor) or not smaller (ceil). Returns
  // kNotFound where there is none; all of one moment.
  Status floor(uint64_t key, uint64_t* found, std::string* value, uint64_t* offset = nullptr) {
    return nearest({0, key, Direction::kDown}, found, value, offset);
  }
  Status ceil(uint64_t key, uint64_t* found, std::string* value, uint64_t* offset = nullptr) {
    return nearest({key, ~uint64_t{0}, Direction::kUp}, found, value, offset);
  }

  // ---- the log ----

  [[nodiscard]] LogRange log_range() { return LogReader::range(state_); }
  [[nodiscard]] Result<std::unique_ptr<LogReader>> read_log(uint64_t from) {
    return LogReader::open(state_, from);
  }
  // Calls listener(context) after each group has become visible, on the thread that committed it.
  // Set once; the context outlives the engine.
  void set_commit_listener(void (*listener)(void*), void* context) {
    committer_->set_listener(listener, context);
  }

  // Tells the listener of every key that is written from now on. Set once; it outlives the engine.
  void set_key_listener(KeyListener* listener) { committer_->set_key_listener(listener); }

  // ---- long work, done by background threads ----

  // Begins a job; `done` is called when it is over, on a background thread. run() sleeps till then.
  void start(Job job, JobDone done) { maintenance_.start(std::move(job), std::move(done)); }
  JobOutcome run(Job job) {
    return wait_for_job([&](JobDone done) { start(std::move(job), std::move(done)); });
  }

  Status snapshot() { return run({Job::Kind::kSnapshot}).status; }
  Status compact() { return run({Job::Kind::kCompact}).status; }
  Status backup(const std::string& to) { return run({Job::Kind::kBackup, to}).status; }

  [[nodiscard]] const Options& options() const { return state_.options; }
  [[nodiscard]] const std::string& database_id() const { return state_.database_id; }
  [[nodiscard]] uint64_t next_offset() const {
    return state_.visible.load(std::memory_order_acquire);
  }
  [[nodiscard]] const EngineStats& stats() const { return state_.stats; }
  [[nodiscard]] const ReadOnlyLatch& latch() const { return state_.latch; }
  // Which threads have work and do not come forward with it. To be asked every few seconds: what
  // lies between two questions is what counts (see stall_watch.h).
  [[nodiscard]] Stalls stalls(uint64_t now_ns = monotonic_ns()) {
    return stall_watch_.look(state_, *committer_, maintenance_, now_ns);
  }
  // For metrics and tests: the members as they are now, kept alive by the copy.
  [[nodiscard]] View view() { return state_.copy_view(); }
  [[nodiscard]] uint64_t wal_position() const {
    return state_.wal_position.load(std::memory_order_relaxed);
  }
  [[nodiscard]] DiskWarnings disk_warnings() const { return state_.disk_warnings(); }
  [[nodiscard]] bool has_disk_warning(std::string_view name) const {
    const auto warnings = disk_warnings();
    return std::find(warnings.begin(), warnings.end(), name) != warnings.end();
  }
  [[nodiscard]] uint64_t disk_kept_bytes() const { return state_.space.kept_bytes(); }
  [[nodiscard]] uint64_t disk_free_bytes() { return known(state_.dir.free_bytes()); }
  // What its volume has in all; 0 where nobody can tell.
  [[nodiscard]] uint64_t disk_size_bytes() { return known(state_.dir.total_bytes()); }

 private:
  static uint64_t known(const Result<uint64_t>& bytes) { return bytes.ok() ? *bytes : 0; }

  Engine(Options options, FileSystem& fs, std::unique_ptr<Directory> dir)
      : state_(std::move(options), fs, std::move(dir)), maintenance_(state_) {}

  static Status check_options(const Options& options);

  // When room is short: whether the puts of a request make some.
  void judge_room(WriteRequest* request) const {
    if (!state_.space.is_short() && !request->is_stale) return;
    const EpochPin pin;
    const Moment now = moment();
    request->room_is_judged = true;
    request->makes_room = makes_room(*now.view, now.bound, request->mutations);
  }

  // The same mutations with their Unix times put on the store's clock; nothing where they are that.
  [[nodiscard]] std::vector<Mutation> by_store_time(std::span<const Mutation> mutations) const;

  // The live version of `key`; source() is kNone for an expired value and a tombstone too. Counts.
  // REQUIRES: the calling thread holds an EpochPin.
  [[nodiscard]] Lookup find_live(uint64_t key);

  // REQUIRES: the EpochPin under which it was found.
  [[gnu::noinline, gnu::cold]] Status no_value(Lookup found) {
    if (found.source() == Source::kNone) return Status(Code::kNotFound);
    return report_damage(*state_.view.load(std::memory_order_acquire),
                         damaged_record(*found.run()));
  }

  Status nearest(const ScanRange& range, uint64_t* found, std::string* value, uint64_t* offset);

  // to->assign(value). Where `to` has that size already, as it has in a loop over values of one
  // size, the branch predicts it, and the copy goes to addresses that do not depend on a record
  // that is still on its way from memory: else the loads of the next lookup would wait for it.
  static void copy_value(std::string_view value, std::string* to) {
    size_t size = to->size();
    if (value.size() != size) [[unlikely]] {
      to->assign(value);
      return;
    }
    asm("" : "+r"(size));  // or the compiler takes value.size() again
    std::memcpy(to->data(), value.data(), size);
  }

  // Measures how far a read had to look; doing so for all of them would cost too much.
  static constexpr uint64_t kReadsPerProbeSample = 256;
  [[gnu::noinline, gnu::cold]] void sample_probe(const Run& run, uint64_t key) {
    state_.stats.probe_length.observe(run.index().probe_length(key));
  }

  [[nodiscard]] bool is_live(uint64_t meta) const {
    return meta_is_live(meta, [this] { return state_.clock.now_secs(); });
  }

  // Counts and logs damage that a read met in one of the runs of `view`, and has a damaged index
  // rebuilt.
  Status report_damage(const View& view, Status status) {
    for (const auto& run : view.runs) rebuild_if_damaged(*run);
    return report_damage(std::move(status));
  }
  void rebuild_if_damaged(const Run& run) {
    if (run.index_is_damaged()) maintenance_.request_index_rebuild(run.meta().id);
  }
  Status report_damage(Status status) {
    state_.stats.corruptions.add();
    // At most a line a second: a damaged run may be asked for again and again.
    const uint64_t now = monotonic_ns();
    uint64_t last = damage_logged_ns_.load(std::memory_order_relaxed);
    if (now - last >= 1'000'000'000 && damage_logged_ns_.compare_exchange_strong(last, now)) {
      log_event(LogLevel::kError, "corruption", {{"what", status.message()}});
    }
    return status;
  }

  EngineState state_;
  Maintenance maintenance_;
  std::unique_ptr<Committer> committer_;
  StallWatch stall_watch_;
  std::atomic<uint64_t> damage_logged_ns_{0};
};

inline Result<std::unique_ptr<Engine>> Engine::open(Options options, RecoveryProgress* progress) {
  KYRO_TRY(check_options(options));
  static PosixFileSystem posix;
  FileSystem& fs = options.fs != nullptr ? *options.fs : posix;
  auto dir = fs.open_dir(options.data_dir, DirMode::kCreate);
  KYRO_TRY(dir);
  KYRO_TRY((*dir)->lock(LockKind::kOwner));
  std::unique_ptr<Engine> engine(new Engine(std::move(options), fs, std::move(*dir)));
  RecoveryProgress ignored;
  Recovery recovery(engine->state_, progress != nullptr ? *progress : ignored);
  KYRO_TRY(recovery.run());
  engine->committer_ = std::make_unique<Committer>(
      engine->state_, recovery.take_wal(), recovery.active(), engine->maintenance_.flusher());
  KYRO_TRY(engine->maintenance_.start(*engine->committer_));
  KYRO_TRY(engine->committer_->start());
  return engine;
}

inline Result<uint64_t> Engine::write(std::span<const Mutation> mutations,
                                      std::span<const Condition> conditions) {
  KYRO_TRY(check(mutations));
  const std::vector<Mutation> timed = by_store_time(mutations);
  if (!timed.empty()) mutations = timed;
  std::vector<Condition> judged(conditions.begin(), conditions.end());
  BlockingWrite request;
  request.mutations = mutations;
  request.conditions = judged;
  request.may_come_back = true;
  do {
    for (Condition& condition : judged) KYRO_TRY(resolve_base(&condition));
    judge_room(&request);
    committer_->commit(&request);
  } while (request.is_stale);
  if (!request.status.ok()) return request.status;
  return request.offset;
}

inline Status Engine::resolve_base(Condition* condition) {
  const EpochPin pin;
  const uint64_t visible = state_.visible.load(std::memory_order_acquire);
  const View* view = state_.view.load(std::memory_order_acquire);
  BaseVersion& base = condition->base;
  base = {.bound = view->bound(visible)};
  const Lookup found = find_in_view(*view, condition->key, base.bound);
  if (found.source() == Source::kDamaged) return report_damage(*view, damaged_record(*found.run()));
  if (found.source() == Source::kNone) return Status();
  base.found = true;
  base.offset = found.offset();
  base.meta = found.meta();
  return Status();
}

inline Status Engine::check_options(const Options& options) {
  KYRO_TRY(options.rmi.validate());
  const auto invalid = [](const char* what) { return Status(Code::kInvalid, what); };
  if (options.max_value_bytes > kValueBytesCeiling)
    return invalid("max_value_bytes is above 1 GiB");
  if (options.max_batch_bytes > kBatchBytesCeiling)
    return invalid("max_batch_bytes is above 2 GiB");
  if (options.wal_segment_bytes < 4 * kKiB) return invalid("wal_segment_bytes is below 4 KiB");
  if (options.delta_max_bytes < 64 * kKiB) return invalid("delta_max_bytes is below 64 KiB");
  if (options.merge_fan_in < 2) return invalid("merge_fan_in is below 2");
  if (options.wal_segments_max < 1) return invalid("wal_segments_max is below 1");
  return Status();
}

inline std::vector<Mutation> Engine::by_store_time(std::span<const Mutation> mutations) const {
  const auto expires = [](const Mutation& mutation) { return mutation.expiry_secs != 0; };
  if (std::none_of(mutations.begin(), mutations.end(), expires)) return {};
  if (state_.clock.shift_secs() == 0) return {};
  std::vector<Mutation> timed(mutations.begin(), mutations.end());
  for (Mutation& mutation : timed) {
    mutation.expiry_secs = from_unix(mutation.expiry_secs);
  }
  return timed;
}

inline Lookup Engine::find_live(uint64_t key) {
  const uint64_t visible = state_.visible.load(std::memory_order_acquire);
  const View* view = state_.view.load(std::memory_order_acquire);
  const Lookup found = find_in_view(*view, key, view->bound(visible));
  if (!found.has_record() || !is_live(found.meta())) [[unlikely]] {
    if (found.source() == Source::kDamaged) return found;
    state_.stats.read_misses.add();
    return {};
  }
  if (found.source() == Source::kDelta) {
    state_.stats.reads_from_delta.add();
  } else if (state_.stats.reads_from_runs.add() % kReadsPerProbeSample == 0 && kHotMetrics) {
    sample_probe(*found.run(), key);
  }
  return found;
}

inline Status Engine::nearest(const ScanRange& range, uint64_t* found, std::string* value,
                              uint64_t* offset) {
  Status status(Code::kNotFound);
  const Status scanned = scan(range, [&](uint64_t key, std::string_view bytes, uint64_t version) {
    *found = key;
    value->assign(bytes);
    if (offset != nullptr) *offset = version;
    status = Status();
    return false;
  });
  return scanned.ok() ? status : scanned;
}

}  // namespace kyro
