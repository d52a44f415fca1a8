// Threads that may be refused, their names and priorities.
//
// A thread that the system refuses (a limit on processes, no memory) is a Status here. With
// std::thread it would be the end of the process, since the product has no exceptions.
//
// Thread rule: a Thread object is used by one thread at a time. Ownership: whoever started a thread
// joins it.
#pragma once

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/status.h"

namespace kyro {

// At most 15 characters; shown by top and debuggers.
inline void name_this_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

class Thread {
 public:
  Thread() = default;
  Thread(Thread&& other) noexcept
      : id_(other.id_), is_joinable_(std::exchange(other.is_joinable_, false)) {}
  Thread& operator=(Thread&&) = delete;
  ~Thread() { KYRO_CHECK(!is_joinable_); }

  // Runs work() on a thread of its own; kBusy where the system gives none.
  template <class Work>
  [[nodiscard]] Status start(Work work) {
    KYRO_CHECK(!is_joinable_);
    auto owned = std::make_unique<Work>(std::move(work));
    const int error = pthread_create(
        &id_, nullptr,
        [](void* argument) -> void* {
          const std::unique_ptr<Work> own(static_cast<Work*>(argument));
          (*own)();
          return nullptr;
        },
        owned.get());
    if (error != 0) {
      return Status(Code::kBusy, std::string("cannot start a thread: ") + strerror(error) +
                                     " (a limit on processes or memory?)");
    }
    static_cast<void>(owned.release());  // the thread's now
    is_joinable_ = true;
    return Status();
  }

  [[nodiscard]] bool joinable() const { return is_joinable_; }
  // Nobody waits for it any more.
  void detach() {
    KYRO_CHECK(is_joinable_);
    is_joinable_ = false;
    pthread_detach(id_);
  }
  void join() {
    KYRO_CHECK(is_joinable_);
    is_joinable_ = false;
    pthread_join(id_, nullptr);
  }

 private:
  pthread_t id_{};
  bool is_joinable_ = false;
};

// Runs work() on a thread of its own that yields to every other that wants to run or read, and
// waits for it. The thread exists only as long as the work: on a busy machine one of such priority
// may not run for a second, not even to die, and until it does a killed process keeps its locks and
// ports. Where the system refuses the priority, or the thread, the work runs at normal priority, or
// here: a courtesy, not a promise.
template <class Work>
void run_yielding(const char* name, Work work) {
  Thread worker;
  const Status started = worker.start([&] {
    constexpr int kLowest = 19;
    name_this_thread(name);
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLowest);
    // From <linux/ioprio.h>, which in newer kernels is not C++ (a parameter named class).
    constexpr int kWhoProcess = 1;
    constexpr int kIdleClass = 3 << 13;
    syscall(SYS_ioprio_set, kWhoProcess, 0, kIdleClass);
    work();
  });
  if (!started.ok()) return work();
  worker.join();
}

}  // namespace kyro
