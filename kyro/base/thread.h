// Names and priorities of threads.
#pragma once

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

namespace kyro {

// At most 15 characters; shown by top and debuggers.
inline void name_this_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

// Runs work() on a thread of its own that yields to every other that wants to run or read, and
// waits for it. The thread exists only as long as the work: on a busy machine one of such priority
// may not run for a second, not even to die, and until it does a killed process keeps its locks and
// ports. Where the system refuses, the work runs at normal priority: a courtesy, not a promise.
template <class Work>
void run_yielding(const char* name, Work work) {
  std::thread worker([&] {
    constexpr int kLowest = 19;
    name_this_thread(name);
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLowest);
    // From <linux/ioprio.h>, which in newer kernels is not C++ (a parameter named class).
    constexpr int kWhoProcess = 1;
    constexpr int kIdleClass = 3 << 13;
    syscall(SYS_ioprio_set, kWhoProcess, 0, kIdleClass);
    work();
  });
  worker.join();
}

}  // namespace kyro
