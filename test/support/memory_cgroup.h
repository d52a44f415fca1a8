// A memory cgroup of its own for a child of a test or benchmark: all that the child uses, pages of
// files that it reads and writes included, stays below a limit or the kernel kills it. Below the
// parent's own cgroup in version 1; in version 2, where a group with processes has no subgroups,
// beside it, or beside one above it. Removed at the end of the scope, by when its processes must
// have ended.
#pragma once

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace kyro::test {

class MemoryCgroup {
 public:
  // false from is_there() where none can be made. `name` tells those of one process apart.
  explicit MemoryCgroup(uint64_t limit_bytes, const std::string& name = "test")
      : name_("/kyro-" + name + "-" + std::to_string(getpid())) {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const size_t at = line.find(":memory:");
      if (at != line.npos) {
        const std::string root = "/sys/fs/cgroup/memory";
        const std::string own = root + line.substr(at + 8);
        // In a container the path may be that of the host.
        make_in(std::filesystem::exists(own) ? own : root, limit_bytes);
      } else if (line.starts_with("0::")) {
        is_v2_ = true;
        std::filesystem::path above = "/sys/fs/cgroup" + line.substr(3);
        while (path_.empty() && above.string().size() > std::string_view("/sys/fs/cgroup").size()) {
          above = above.parent_path();
          make_in(above.string(), limit_bytes);
        }
      }
      if (!path_.empty()) return;
      is_v2_ = false;
    }
  }
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;
  ~MemoryCgroup() {
    if (!path_.empty() && rmdir(path_.c_str()) != 0) {
      std::fprintf(stderr, "the cgroup %s could not be removed\n", path_.c_str());
    }
  }

  [[nodiscard]] bool is_there() const { return !path_.empty(); }

  // The calling process and its children are in it from now on; for a child after fork().
  [[nodiscard]] bool enter() const { return write(path_, "cgroup.procs", "0"); }
  // `argv` as a program that enters the cgroup before it is started.
  [[nodiscard]] std::vector<std::string> within(const std::vector<std::string>& argv) const {
    std::vector<std::string> out{"/bin/sh", "-c", "echo $$ >\"$0\" && exec \"$@\"",
                                 path_ + "/cgroup.procs"};
    out.insert(out.end(), argv.begin(), argv.end());
    return out;
  }

  [[nodiscard]] uint64_t peak_bytes() const {
    return number(is_v2_ ? "memory.peak" : "memory.max_usage_in_bytes");
  }
  // What is not pages of files: heap, stacks, anonymous maps.
  [[nodiscard]] uint64_t anonymous_bytes() const {
    return field("memory.stat", is_v2_ ? "anon " : "rss ");
  }
  [[nodiscard]] uint64_t kills() const {
    return field(is_v2_ ? "memory.events" : "memory.oom_control", "oom_kill ");
  }

 private:
  void make_in(const std::string& parent, uint64_t limit_bytes) {
    const std::string path = parent + name_;
    if (mkdir(path.c_str(), 0755) != 0) return;
    const std::string limit = std::to_string(limit_bytes);
    bool is_limited = write(path, is_v2_ ? "memory.max" : "memory.limit_in_bytes", limit);
    // Nothing may leave for the swap; without any the file may be missing.
    static_cast<void>(is_v2_ ? write(path, "memory.swap.max", "0")
                             : write(path, "memory.memsw.limit_in_bytes", limit));
    path_ = path;
    is_limited = is_limited && can_be_entered();
    if (!is_limited) {
      rmdir(path.c_str());
      path_.clear();
    }
  }
  [[nodiscard]] bool can_be_entered() const {
    const pid_t child = fork();
    if (child == 0) _exit(enter() ? 0 : 1);
    int state = 1;
    return child > 0 && waitpid(child, &state, 0) == child && state == 0;
  }
  static bool write(const std::string& path, const char* name, const std::string& text) {
    std::ofstream file(path + "/" + name);
    file << text;
    return file.flush().good();
  }
  [[nodiscard]] std::string content(const char* name) const {
    std::ifstream file(path_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] uint64_t number(const char* name) const {
    return std::strtoull(content(name).c_str(), nullptr, 10);
  }
  [[nodiscard]] uint64_t field(const char* name, const std::string& label) const {
    const std::string text = "\n" + content(name);
    const size_t at = text.find("\n" + label);
    if (at == text.npos) {
      std::fprintf(stderr, "no %sin %s:%s\n", label.c_str(), name, text.c_str());
      std::abort();
    }
    return std::strtoull(text.c_str() + at + 1 + label.size(), nullptr, 10);
  }

  const std::string name_;
  std::string path_;
  bool is_v2_ = false;
};

}  // namespace kyro::test
