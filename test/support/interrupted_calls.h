// System calls that a signal interrupts and that read or write less than they were asked to, on
// real files, by the kernel itself: a thread whose calls a seccomp filter hands to another one,
// which answers each first one with EINTR, and each second one by doing half of it.
//
// Thread rule: one run at a time; `body` runs on a thread of its own, with no Catch2 assertions.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <map>
#include <thread>
#include <utility>
#include <vector>

namespace kyro::test {

class InterruptedCalls {
 public:
  // Numbers as in SYS_pwrite64. Reads and writes by position are those that come short.
  explicit InterruptedCalls(std::vector<int> calls) : calls_(std::move(calls)) {}

  // False where the system cannot do this; then `body` has not run.
  template <class Body>
  bool run(Body body) {
    std::promise<int> listening;
    std::thread worker([&] {
      const int listener = install_filter();
      listening.set_value(listener);
      if (listener >= 0) body();
    });
    const int listener = listening.get_future().get();
    if (listener >= 0) answer(listener);
    worker.join();
    if (listener >= 0) close(listener);
    return listener >= 0;
  }

  // How many calls of this number there were.
  [[nodiscard]] uint64_t count(int call) const {
    const auto found = counts_.find(call);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  // For the calling thread, until it ends. The descriptor that its calls come out of, or -1.
  [[nodiscard]] int install_filter() const {
    std::vector<sock_filter> code = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)}};
    for (const int call : calls_) {
      code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<uint32_t>(call)});
      code.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF});
    }
    code.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return static_cast<int>(
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
  }

  // Until the thread behind the filter has ended.
  void answer(int listener) {
    for (;;) {
      pollfd waited{listener, POLLIN, 0};
      if (poll(&waited, 1, -1) < 0) continue;
      if ((waited.revents & POLLIN) == 0) return;
      seccomp_notif call{};
      if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
      seccomp_notif_resp outcome = outcome_of(call.data);
      outcome.id = call.id;
      ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &outcome);
    }
  }

  seccomp_notif_resp outcome_of(const seccomp_data& call) {
    seccomp_notif_resp outcome{};
    const bool is_first = ++counts_[call.nr] % 2 == 1;
    const bool may_come_short = call.nr == SYS_pread64 || call.nr == SYS_pwrite64;
    const auto half = call.args[2] / 2;
    if (is_first) {
      outcome.error = -EINTR;
    } else if (may_come_short && half > 0) {
      // Not through the library: a sanitizer would not know that the other thread waits.
      outcome.val = syscall(call.nr, call.args[0], call.args[1], half, call.args[3]);
      if (outcome.val < 0) outcome.error = -errno;
    } else {
      outcome.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    }
    return outcome;
  }

  const std::vector<int> calls_;
  std::map<int, uint64_t> counts_;
};

}  // namespace kyro::test
