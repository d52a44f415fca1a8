// Names and priorities of threads.
#pragma once

#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kyro {

// At most 15 characters; shown by top and debuggers.
inline void name_this_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

// This thread runs and reads only when nobody else wants to. Where the system refuses, it runs as
// before: priorities are a courtesy, not a promise.
inline void make_this_thread_idle() {
  const sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
  syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

}  // namespace kyro
