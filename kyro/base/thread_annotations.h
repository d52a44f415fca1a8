// Which lock guards what, said so that clang checks it (-Wthread-safety). Other compilers skip it.
//
//   Mutex mutex_;
//   uint64_t sum_ KYRO_GUARDED_BY(mutex_) = 0;
//   void add_locked(uint64_t n) KYRO_REQUIRES(mutex_);
#pragma once

#if defined(__clang__)
#define KYRO_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define KYRO_THREAD_ANNOTATION(x)
#endif

// On a class: its objects are locks, or something else that one thread holds at a time; or hold
// one for as long as they live.
#define KYRO_CAPABILITY(name) KYRO_THREAD_ANNOTATION(capability(name))
#define KYRO_SCOPED_CAPABILITY KYRO_THREAD_ANNOTATION(scoped_lockable)
// On a member: the lock has to be held to touch it.
#define KYRO_GUARDED_BY(lock) KYRO_THREAD_ANNOTATION(guarded_by(lock))
// On a function: the caller holds the locks, or does not.
#define KYRO_REQUIRES(...) KYRO_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define KYRO_EXCLUDES(...) KYRO_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
// On a function: it takes the locks, gives them back, or takes them if it returns the value.
#define KYRO_ACQUIRE(...) KYRO_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define KYRO_RELEASE(...) KYRO_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define KYRO_TRY_ACQUIRE(...) KYRO_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
// On a function whose body the analysis cannot follow.
#define KYRO_NO_THREAD_SAFETY_ANALYSIS KYRO_THREAD_ANNOTATION(no_thread_safety_analysis)
