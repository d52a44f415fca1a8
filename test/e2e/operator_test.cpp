// What happens to a store in an operator's hands: mounts that cannot be written, file systems in
// layers, directories copied while they are written to, disks that are put back to an earlier
// moment, processes that are stopped and go on. The table is in scripts/deploy/README.md.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

// A script in a mount namespace of its own: what it mounts, nobody else sees, and goes with it.
// "$K" is the binary, "$D" the directory. Skipped where this is not allowed.
Outcome run_with_mounts(const TempDir& dir, const std::string& script) {
  // Each server has a log of its own, and none outlives the script.
  const std::string serve =
      "N=0; trap 'kill -KILL $P 2>/dev/null || true' EXIT\n"
      "serve() { N=$((N + 1)); : >\"$D/log$N\"\n"
      "  \"$K\" serve 127.0.0.1 0 --data-dir \"$1\" 2>>\"$D/log$N\" & P=$!\n"
      "  grep -q -m1 ' version=' <(tail -n +1 -f --pid=$P \"$D/log$N\") || return 1\n"
      "  U=http://$(grep -o 'address=[0-9.:]*' \"$D/log$N\" | cut -d= -f2); }\n"
      "stop() { kill $P; wait $P; }\n";
  return run_program({"/usr/bin/env", "K=" + server_binary(), "D=" + dir.path(), "/usr/bin/timeout",
                      "50", "/usr/bin/unshare", "-m", "/bin/bash", "-c", serve + script});
}

bool can_mount(const TempDir& dir, const std::string& mount) {
  const Outcome tried = run_with_mounts(dir, mount);
  if (tried.exit_code == 0) return true;
  WARN("skipped: mounting is not possible here: " << tried.err);
  return false;
}

// One client that writes key n with value n, n ascending, until it is told to stop or fails.
class CountingWriter {
 public:
  explicit CountingWriter(const ServerProcess& server)
      : thread_([this, endpoint = server.endpoint()] {
          HttpClient client(endpoint);
          HttpResponse response;
          for (uint64_t n = 0; !is_ended_.load(); ++n) {
            const std::string value = std::to_string(n) + std::string(200, '.');
            const bool is_stored =
                client.request("PUT", kv_path(n), value, &response).ok() && response.status == 201;
            const std::lock_guard lock(mutex_);
            (is_stored ? acknowledged_ : failed_at_) = n + 1;
            changed_.notify_all();
            if (!is_stored) return;
          }
        }) {}
  CountingWriter(const CountingWriter&) = delete;
  CountingWriter& operator=(const CountingWriter&) = delete;
  ~CountingWriter() { end(); }

  // How many writes are acknowledged, and so are in the store for good.
  [[nodiscard]] uint64_t acknowledged() {
    const std::lock_guard lock(mutex_);
    return acknowledged_;
  }
  void wait_for(uint64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return acknowledged_ >= count || failed_at_ != 0; });
    REQUIRE(acknowledged_ >= count);
  }
  uint64_t end() {
    is_ended_.store(true);
    if (thread_.joinable()) thread_.join();
    return acknowledged();
  }

 private:
  std::atomic<bool> is_ended_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t acknowledged_ = 0;
  uint64_t failed_at_ = 0;  // not 0: the write of this number failed, and the thread has ended
  std::thread thread_;
};

// The keys 0, 1, 2, … of a store that nobody serves, in order and without a hole, each with the
// value that it was given: how many there are. Fails the test for anything else.
uint64_t count_dumped(const Outcome& dump) {
  std::istringstream lines(dump.out);
  uint64_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const std::string number = std::to_string(count);
    const std::string wanted = "{\"key\":" + number + ",\"value\":\"" + number + ".";
    INFO(line);
    REQUIRE(line.starts_with(wanted));
  }
  return count;
}

// So that flushes, merges and new segments happen all the time.
const Args kRestless = {"--fsync",
                        "interval:1000",
                        "--delta-max-bytes",
                        "64KiB",
                        "--wal-segment-bytes",
                        "16KiB",
                        "--wal-max-segments",
                        "2"};

// A part of one processor for a process that runs, where a cgroup can be made.
class CpuCgroup {
 public:
  explicit CpuCgroup(int percent) {
    for (const std::string root : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"}) {
      path_ = root + "/kyro-test-" + std::to_string(getpid());
      const std::string quota = std::to_string(percent * 1000);
      if (mkdir(path_.c_str(), 0700) != 0) continue;
      is_limited_ = write(root.ends_with("cpu") ? "cpu.cfs_quota_us" : "cpu.max", quota);
      if (is_limited_) return;
      rmdir(path_.c_str());
    }
  }
  CpuCgroup(const CpuCgroup&) = delete;
  CpuCgroup& operator=(const CpuCgroup&) = delete;
  ~CpuCgroup() {
    if (is_limited_ && rmdir(path_.c_str()) != 0) WARN(path_ << " could not be removed");
  }
  [[nodiscard]] bool take(pid_t pid) {
    return is_limited_ && write("cgroup.procs", std::to_string(pid));
  }

 private:
  [[nodiscard]] bool write(const char* name, const std::string& text) const {
    std::ofstream file(path_ + "/" + name);
    file << text << std::flush;
    return file.good();
  }
  std::string path_;
  bool is_limited_ = false;
};

// Stops every thread of a process as a debugger does, and lets them go on.
void attach_and_detach(pid_t pid) {
  std::vector<pid_t> threads;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    threads.push_back(std::stoi(entry.path().filename().string()));
  }
  for (const pid_t thread : threads) {
    // One that has ended meanwhile is none to stop.
    if (ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) continue;
    if (ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) continue;
    int status = 0;
    if (waitpid(thread, &status, __WALL) != thread) continue;
    ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
  }
}

}  // namespace

TEST_CASE("On a mount that cannot be written the server refuses, and the tools read", "[e2e]") {
  TempDir dir;
  const std::string mount =
      "mkdir -p $D/data && mount --bind $D/data $D/data && mount -o remount,bind,ro $D/data\n";
  if (!can_mount(dir, mount)) return;
  const Outcome run = run_with_mounts(
      dir, "serve $D/data && curl -sS -d '{\"key\":1,\"value\":\"v\"}' $U/v1/put && stop\n" +
               mount +
               "\"$K\" serve 127.0.0.1 0 -d $D/data && exit 1\n"
               "\"$K\" serve 127.0.0.1 0 -d $D/data/new && exit 2\n"
               "cd $D; set -e\n"
               "\"$K\" verify data; \"$K\" dump data; \"$K\" backup data b; \"$K\" restore data r\n"
               "\"$K\" verify b; \"$K\" dump r; \"$K\" salvage data s\n");
  INFO(run.out << run.err);
  CHECK(run.exit_code == 0);
  CHECK(contains(run.err, "Read-only file system"));
  const std::string record = "{\"key\":1,\"value\":\"v\",\"offset\":0}\n";
  CHECK(run.out.find(record) != run.out.rfind(record));  // of the store and of what was restored
}

TEST_CASE("A disk that turns read-only under a server stops its writes, and is mended by a restart",
          "[e2e]") {
  TempDir dir;
  // What a disk does that has errors: the kernel takes no more writes for this file system.
  const std::string mount =
      "PATH=$PATH:/sbin:/usr/sbin; mkdir -p $D/m && truncate -s 64M $D/disk && "
      "mkfs.ext4 -q $D/disk && mount -o loop,errors=remount-ro $D/disk $D/m\n";
  if (!can_mount(dir, mount)) return;
  const Outcome run = run_with_mounts(
      dir,
      "put() { curl -sS -w ' %{http_code}\\n' -d \"{\\\"key\\\":$1,\\\"value\\\":\\\"v\\\"}\" "
      "$U/v1/put; }\nrm $D/disk\n" +
          mount +
          "serve $D/m/data && put 1 || exit 1\n"
          "mount -o remount,abort $D/m || exit 2\n"
          "put 2; curl -sS $U/ready; echo; curl -sS $U/v1/scan; echo; stop; echo stopped $?\n"
          "umount $D/m && e2fsck -fy $D/disk >/dev/null; mount -o loop $D/disk $D/m || exit 3\n"
          "serve $D/m/data && curl -sS $U/ready && echo && curl -sS $U/v1/scan || exit 4\n"
          "put 2 && stop && \"$K\" verify $D/m/data || exit 5\n");
  INFO(run.out << run.err);
  CHECK(run.exit_code == 0);
  const std::string records = "{\"items\":[{\"key\":1,\"value\":\"v\",\"offset\":0}],";
  CHECK(contains(run.out, "\"error\":\"read_only\""));
  CHECK(contains(run.out, "{\"status\":\"read_only\",\"reason\":\""));
  CHECK(run.out.find(records) != run.out.npos);
  CHECK(run.out.find(records) != run.out.rfind(records));  // before the restart and after it
  CHECK(contains(run.out, "{\"status\":\"ready\"}"));
}

TEST_CASE("With a twentieth of a processor a server is slow, ready, and stops in time", "[e2e]") {
  TempDir dir;
  CpuCgroup cgroup(5);  // outlives the server
  ServerProcess server(dir.file("data"), kRestless);
  if (!cgroup.take(server.process().pid())) {
    WARN("skipped: no cgroup can be made that limits processors");
    return;
  }
  Client client(server);
  std::string lines;
  for (uint64_t n = 0; n < 1000; ++n) {
    const std::string number = std::to_string(n);
    lines += R"({"op":"put","key":)" + number + R"(,"value":")" + number + std::string(200, '.') +
             "\"}\n";
  }
  CHECK(client.call("POST", "/v1/batch", lines).status == 200);
  CHECK(client.call("POST", "/v1/snapshot").status == 200);
  CHECK(client.call("POST", "/v1/compact").status == 200);
  CHECK(client.get("/ready").body == "{\"status\":\"ready\"}");
  CHECK(client.get(kv_path(999)).status == 200);
  CHECK(server.stop().exit_code == 0);
  CHECK(count_dumped(run_kyrodb({"dump", server.data_dir()})) == 1000);
}

TEST_CASE("Over layers of file systems a store is served, compacted and found whole", "[e2e]") {
  TempDir dir;
  // The lower layer is an image that may not change, as in a container.
  const std::string mount =
      "mkdir -p $D/data $D/top && mount -t tmpfs none $D/top && mkdir $D/top/up $D/top/work $D/m "
      "&& mount -t overlay overlay -o lowerdir=$D/data,upperdir=$D/top/up,workdir=$D/top/work $D/m";
  if (!can_mount(dir, mount)) return;
  const Outcome run = run_with_mounts(
      dir,
      "put() { curl -sS -d \"{\\\"key\\\":$1,\\\"value\\\":\\\"$2\\\"}\" $U/v1/put; }\n"
      "serve $D/data && put 1 lower && put 2 lower && stop && rmdir $D/m && cp -a $D/data $D/was "
      "&& " +
          mount +
          " || exit 1\n"
          "serve $D/m && put 2 upper && curl -sS -X POST $U/v1/compact && put 3 upper || exit 2\n"
          "kill -KILL $P; wait $P; serve $D/m && curl -sS $U/v1/scan && stop || exit 3\n"
          "\"$K\" verify $D/m && diff -r $D/data $D/was\n");
  INFO(run.out << run.err);
  CHECK(run.exit_code == 0);
  CHECK(contains(run.out,
                 "{\"items\":[{\"key\":1,\"value\":\"lower\",\"offset\":0},"
                 "{\"key\":2,\"value\":\"upper\",\"offset\":2},"
                 "{\"key\":3,\"value\":\"upper\",\"offset\":3}],\"complete\":true,"));
}

TEST_CASE("A live directory that is copied is refused, or holds a prefix with all of before",
          "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), kRestless);
  CountingWriter writer(server);
  int opened = 0;
  for (int round = 0; round < 12; ++round) {
    writer.wait_for(writer.acknowledged() + 50);
    const uint64_t before = writer.acknowledged();
    const std::string copy = dir.file("copy" + std::to_string(round));
    // Files that go while it copies make cp fail; what it has copied is looked at all the same.
    run_program({"/bin/cp", "-a", server.data_dir(), copy});
    const Outcome verified = run_kyrodb({"verify", copy});
    const Outcome dumped = run_kyrodb({"dump", copy});
    INFO("round " << round << ", " << before << " before; " << verified.out << verified.err
                  << dumped.err);
    const uint64_t found = count_dumped(dumped);
    CHECK((verified.exit_code != 0 || dumped.exit_code == 0));
    if (dumped.exit_code != 0) continue;
    ++opened;
    CHECK(found >= before);
  }
  WARN(opened << " of 12 copies opened");
  writer.end();
  CHECK(server.stop().exit_code == 0);
}

TEST_CASE("A disk put back to an earlier moment is the store of that moment", "[e2e]") {
  const bool is_always = GENERATE(false, true);
  Args flags = kRestless;
  if (is_always) flags[1] = "always";
  TempDir dir;
  ServerProcess server(dir.file("data"), flags);
  const std::string database =
      Client(server).get("/v1/offset").body.substr(strlen("{\"offset\":0,"));
  CountingWriter writer(server);
  writer.wait_for(400);
  // All files of one moment, as a snapshot of a volume or of a whole machine has them.
  server.process().signal(SIGSTOP);
  const uint64_t before = writer.acknowledged();
  fs::copy(server.data_dir(), dir.file("snapshot"), fs::copy_options::recursive);
  server.process().signal(SIGCONT);
  writer.wait_for(before + 400);
  const uint64_t after = writer.end();
  server.kill_hard();
  fs::remove_all(server.data_dir());
  fs::rename(dir.file("snapshot"), server.data_dir());

  server.start();
  Client client(server);
  CHECK(client.get(kv_path(before - 1)).status == 200);
  CHECK(client.get(kv_path(after - 1)).status == 404);
  // Nothing tells a store that was synced that there was a later one, so its numbers go on. Under a
  // policy that may lose the newest writes those of before are not given again.
  CHECK((client.next_offset() > after) == !is_always);
  CHECK(contains(client.get("/v1/offset").body, database));
  CHECK(server.stop().exit_code == 0);
  const uint64_t found = count_dumped(run_kyrodb({"dump", server.data_dir()}));
  CHECK(found >= before);
  CHECK(found < after);
}

TEST_CASE("Where threads are refused a start is a sentence, and a running server goes on",
          "[e2e]") {
  if (getuid() != 0) {
    WARN("skipped: only root can make a user without other processes");
    return;
  }
  TempDir dir;
  fs::permissions(dir.path(), fs::perms::all);
  fs::copy(server_binary(), dir.file("kyrodb"));
  // Nobody else is this user, so its processes and threads are those of the server.
  const std::string uid = std::to_string(1'000'000'000 + getpid());
  const auto command = [&](int threads_max) {
    return Args{"/usr/bin/setpriv",
                "--reuid",
                uid,
                "--clear-groups",
                "/usr/bin/prlimit",
                "--nproc=" + std::to_string(threads_max),
                dir.file("kyrodb"),
                "serve",
                "127.0.0.1",
                "0",
                "--threads",
                "2",
                "--request-log",
                "--data-dir",
                dir.file("data")};
  };
  int threads_max = 1;
  for (;; ++threads_max) {
    REQUIRE(threads_max < 10);
    Process server(command(threads_max));
    if (server.wait_for_err(" version=")) break;
    const Outcome outcome = server.wait();
    INFO(threads_max << ": " << outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, "kyrodb: cannot start a thread: "));
  }
  CHECK(threads_max > 5);
  // Just enough for a start: a merge has none of its own.
  Process server(command(threads_max));
  REQUIRE(server.wait_for_err(" version="));
  const std::string err = server.err();
  const size_t at = err.find("address=") + 8;
  Client client(parse_endpoint("http://" + err.substr(at, err.find(' ', at) - at)).value());
  for (const char* key : {"/v1/kv/1", "/v1/kv/2"}) {
    CHECK(client.call("PUT", key, "v").status == 201);
    CHECK(client.call("POST", "/v1/snapshot").status == 200);
  }
  CHECK(client.call("POST", "/v1/compact").status == 200);
  CHECK(client.metric("kyrodb_runs") == "1");
  server.signal(SIGTERM);
  CHECK(server.wait().exit_code == 0);
  require_verified(dir.file("data"));
}

TEST_CASE("A server that is stopped, debugged and continued goes on, and loses nothing", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), kRestless);
  CountingWriter writer(server);
  Client idle(server);
  CHECK(idle.get("/health").status == 200);
  for (int round = 0; round < 20; ++round) {
    writer.wait_for(writer.acknowledged() + 20);
    server.process().signal(SIGSTOP);
    server.process().signal(SIGCONT);
    attach_and_detach(server.process().pid());
  }
  writer.wait_for(writer.acknowledged() + 20);
  CHECK(idle.get("/ready").status == 200);
  const uint64_t acknowledged = writer.end();
  CHECK(server.stop().exit_code == 0);
  require_verified(server.data_dir());
  CHECK(count_dumped(run_kyrodb({"dump", server.data_dir()})) >= acknowledged);
}

}  // namespace kyro::test
