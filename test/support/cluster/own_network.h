// A network of machines within the test: a namespace with a bridge for the thread that made it and
// what it starts, and one namespace for each machine, on a link that can be cut.
//
//   on_own_thread([] {
//     OwnNetwork network;
//     if (!network.is_ok()) return;  // not root, or no iproute2
//     Process process(network.on_machine(0, {"/usr/bin/etcd", …}));  // it is 10.77.0.10
//     network.cut(0);
//   });
//
// Nothing outside sees any of it, and it ends with the thread and the processes.
//
// Thread rule: one thread, which ends soon after (as a Volume's).
#pragma once

#include <sched.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {

class OwnNetwork {
 public:
  OwnNetwork() {
    is_ok_ = access(kIp, X_OK) == 0 && unshare(CLONE_NEWNET) == 0 &&
             ip({"link", "set", "lo", "up"}) && ip({"link", "add", "hub", "type", "bridge"}) &&
             ip({"addr", "add", "10.77.0.1/24", "dev", "hub"}) && ip({"link", "set", "hub", "up"});
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;

  [[nodiscard]] bool is_ok() const { return is_ok_; }
  [[nodiscard]] static std::string address(size_t machine) {
    return "10.77.0." + std::to_string(10 + machine);
  }

  // The command that runs a program on a machine; what ran there before has ended.
  [[nodiscard]] static Args on_machine(size_t machine, const Args& program) {
    // The link of a namespace that has ended may live a little longer.
    static_cast<void>(ip({"link", "del", link(machine)}));
    Args out{"/usr/bin/unshare",
             "-n",
             "/bin/sh",
             "-ec",
             "ip link add eth0 type veth peer name \"$1\" netns \"$0\"\n"
             "ip addr add \"$2/24\" dev eth0\n"
             "ip link set lo up\n"
             "ip link set eth0 up\n"
             "nsenter -t \"$0\" -n ip link set \"$1\" up master hub\n"
             "shift 2\n"
             "exec \"$@\"",
             std::to_string(gettid()),
             link(machine),
             address(machine)};
    out.insert(out.end(), program.begin(), program.end());
    return out;
  }
  static void cut(size_t machine) { REQUIRE(ip({"link", "set", link(machine), "down"})); }
  static void mend(size_t machine) { REQUIRE(ip({"link", "set", link(machine), "up"})); }

 private:
  static constexpr const char* kIp = "/usr/sbin/ip";

  static std::string link(size_t machine) { return "machine" + std::to_string(machine); }
  static bool ip(Args words) {
    words.insert(words.begin(), kIp);
    return run_program(words).exit_code == 0;
  }

  bool is_ok_ = false;
};

}  // namespace kyro::test
