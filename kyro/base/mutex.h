// A mutex that clang's analysis knows, its scopes, and a condition to wait for under it.
//
//   const MutexLock lock(mutex_);
//   while (jobs_.empty()) changed_.wait(mutex_);
//
// A condition is waited for in a loop in the same function and not by a predicate: the analysis
// does not see that a lambda runs under the mutex.
//
// Thread rule: as std::mutex and std::condition_variable, of which these are made.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "kyro/base/thread_annotations.h"

namespace kyro {

class KYRO_CAPABILITY("mutex") Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() KYRO_ACQUIRE() { mutex_.lock(); }
  void unlock() KYRO_RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds a mutex for as long as it lives.
class KYRO_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) KYRO_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() KYRO_RELEASE() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

// Gives back a mutex that the caller holds, and takes it again at its end.
class KYRO_SCOPED_CAPABILITY MutexUnlock {
 public:
  explicit MutexUnlock(Mutex& mutex) KYRO_RELEASE(mutex) : mutex_(mutex) { mutex_.unlock(); }
  MutexUnlock(const MutexUnlock&) = delete;
  MutexUnlock& operator=(const MutexUnlock&) = delete;
  ~MutexUnlock() KYRO_RELEASE() KYRO_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  // Sleeps until notified, or for no reason.
  void wait(Mutex& mutex) KYRO_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // The same for `timeout_ns` at most.
  void wait_for(Mutex& mutex, uint64_t timeout_ns) KYRO_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    condition_.wait_for(lock, std::chrono::nanoseconds(timeout_ns));
    lock.release();
  }
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace kyro
