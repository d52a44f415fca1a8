// The standard process_* metrics, from /proc and getrusage.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace kyro {

struct ProcessStats {
  double cpu_seconds = 0;
  double start_time_seconds = 0;
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
};

namespace process_detail {

inline std::string read_proc(const char* path) {
  char buffer[4096];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t got = read(fd, buffer, sizeof buffer);
  close(fd);
  return std::string(buffer, got > 0 ? static_cast<size_t>(got) : 0);
}

inline double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Field `index` (from 0) of a line of blank-separated numbers.
inline uint64_t field_of(std::string_view line, int index) {
  for (; index > 0; --index) {
    const size_t blank = line.find(' ');
    if (blank == line.npos) return 0;
    line.remove_prefix(blank + 1);
  }
  return std::strtoull(std::string(line.substr(0, 24)).c_str(), nullptr, 10);
}

inline double seconds_by(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Seconds since 1970 at which the process began: boot time + ticks since boot. The boot time comes
// from the clocks: /proc/stat is hidden from a service with ProcSubset=pid.
inline double start_time() {
  const std::string stat = read_proc("/proc/self/stat");
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return 0;
  constexpr int kStartTimeField = 19;  // of those after the name
  const uint64_t ticks = field_of(std::string_view(stat).substr(name_end + 2), kStartTimeField);
  return seconds_by(CLOCK_REALTIME) - seconds_by(CLOCK_BOOTTIME) +
         static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

inline uint64_t count_fds() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  uint64_t count = 0;
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(dir);
  return count - 1;  // not the one that is reading
}

}  // namespace process_detail

// Without the descriptors, which take a walk over all of them.
[[nodiscard]] inline ProcessStats read_process_usage() {
  ProcessStats stats;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    stats.cpu_seconds =
        process_detail::seconds_of(usage.ru_utime) + process_detail::seconds_of(usage.ru_stime);
  }
  const std::string memory = process_detail::read_proc("/proc/self/statm");
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  stats.virtual_bytes = process_detail::field_of(memory, 0) * page;
  stats.resident_bytes = process_detail::field_of(memory, 1) * page;
  static const double kStart = process_detail::start_time();
  stats.start_time_seconds = kStart;
  return stats;
}

[[nodiscard]] inline ProcessStats read_process_stats() {
  ProcessStats stats = read_process_usage();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  stats.open_fds = process_detail::count_fds();
  return stats;
}

}  // namespace kyro
