// The two background threads as one: the flusher, which changes what runs there are, and the
// merger, which does what takes long.
//
// Locks: flusher and merger have a mutex each, and neither calls the other with its own held, but
// for the flusher's word that there may be something to merge. The order is flusher, merger.
//
// Thread rule: public functions from any thread. REQUIRES: stop() before the committer's, which
// answers what is still frozen.
#pragma once

#include <utility>

#include "kyro/storage/background/flusher.h"
#include "kyro/storage/background/merger.h"

namespace kyro {

class Maintenance {
 public:
  explicit Maintenance(EngineState& state) : flusher_(state), merger_(state, flusher_) {}
  Maintenance(const Maintenance&) = delete;
  Maintenance& operator=(const Maintenance&) = delete;
  ~Maintenance() { stop(); }

  // kBusy where the system gives no threads.
  [[nodiscard]] Status start(Committer& committer) {
    KYRO_TRY(flusher_.start(committer, merger_));
    return merger_.start();
  }

  // Ends the threads; what waits is told kBusy. A merge under way is given up.
  void stop() {
    flusher_.request_stop();
    merger_.request_stop();
    merger_.join();
    flusher_.join();
  }

  // Has a job done; `done` is called on a background thread.
  void start(Job job, JobDone done) {
    if (job.kind == Job::Kind::kSnapshot) return flusher_.snapshot(std::move(done));
    merger_.add(std::move(job), std::move(done));
  }
  void request_index_rebuild(uint64_t run_id) { merger_.request_index_rebuild(run_id); }

  [[nodiscard]] Flusher& flusher() { return flusher_; }
  [[nodiscard]] const Flusher& flusher() const { return flusher_; }
  [[nodiscard]] const Merger& merger() const { return merger_; }

 private:
  Flusher flusher_;
  Merger merger_;
};

}  // namespace kyro
