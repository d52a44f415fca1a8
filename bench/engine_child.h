// What the engine benchmark measures in a process of its own: start-up and private memory, which
// nobody else's allocations may blur, and a log that a process leaves behind without closing.
//
//   engine_bench --child open ENGINE DIR READS     opens, reads, prints "<ms> <private MiB>"
//   engine_bench --child fill ENGINE DIR RECORDS   puts small records and dies
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "bench/datasets.h"
#include "bench/kv.h"
#include "kyro/base/clock.h"

namespace kyro::bench {

// A buffer that takes all the small records of a replay.
inline constexpr uint64_t kReplayBufferBytes = uint64_t{2} << 30;
inline constexpr size_t kReplayValueBytes = 16;
inline constexpr size_t kReplayBatch = 64;

// A number from a file of /proc/self, given the text before it.
inline uint64_t proc_number(const char* path, const char* label) {
  FILE* file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  char line[256];
  unsigned long long value = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, label, std::strlen(label)) != 0) continue;
    value = std::strtoull(line + std::strlen(label), nullptr, 10);
    break;
  }
  std::fclose(file);
  return value;
}

inline int child_main(Kv& kv, const std::string& task, const std::string& dir, uint64_t count) {
  if (task == "fill") {
    kv.open(dir, Durability::kNever, kReplayBufferBytes);
    std::vector<uint64_t> keys(kReplayBatch);
    const std::vector<std::string> values(kReplayBatch, std::string(kReplayValueBytes, 'v'));
    Random random(5);
    for (uint64_t done = 0; done < count; done += kReplayBatch) {
      for (uint64_t& key : keys) key = random.next();
      kv.put_batch(keys, values);
    }
    _exit(0);  // no destructor, no flush: what kill -9 leaves
  }
  const uint64_t began_ns = monotonic_ns();
  kv.open(dir, Durability::kAlways, task == "replay" ? kReplayBufferBytes : kDefaultBufferBytes);
  const double ms = static_cast<double>(monotonic_ns() - began_ns) / 1e6;
  Random random(6);
  std::string value;
  for (uint64_t i = 0; i < count; ++i) static_cast<void>(kv.get(random.next(), &value));
  const double private_mib =
      static_cast<double>(proc_number("/proc/self/status", "RssAnon:")) / 1024;
  std::printf("%.3f %.1f\n", ms, private_mib);
  std::fflush(stdout);
  _exit(0);
}

struct Opened {
  double ms = 0;
  double private_mib = 0;
};

// Runs this program as a child and reads what it prints; nothing if it printed nothing.
inline std::optional<Opened> run_child(const std::string& task, const char* engine,
                                       const std::string& dir, uint64_t count) {
  int ends[2];
  if (pipe(ends) != 0) return std::nullopt;
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    const std::string number = std::to_string(count);
    execl("/proc/self/exe", "engine_bench", "--child", task.c_str(), engine, dir.c_str(),
          number.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  char text[64] = {};
  FILE* from = fdopen(ends[0], "r");
  const bool got = from != nullptr && std::fgets(text, sizeof text, from) != nullptr;
  if (from != nullptr) std::fclose(from);
  int state = 0;
  waitpid(child, &state, 0);
  if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) give_up(engine, "a child process failed");
  Opened out;
  if (!got || std::sscanf(text, "%lf %lf", &out.ms, &out.private_mib) != 2) return std::nullopt;
  return out;
}

}  // namespace kyro::bench
