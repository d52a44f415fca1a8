// Settings of the benchmarks: environment variables, lists, numbers with a unit, and the line that
// says on which machine and with which compiler a benchmark ran.
//
// Thread rule: pure functions, but for the environment, which nobody changes. Ownership: values.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#ifndef KYRO_COMMIT
#define KYRO_COMMIT "unknown"
#endif

namespace kyro::bench {

inline std::string setting(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

// "10M", "200K" or plain digits.
inline uint64_t number_of(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const double unit = *end == 'M' ? 1e6 : *end == 'K' || *end == 'k' ? 1e3 : 1;
  return static_cast<uint64_t>(value * unit);
}
inline uint64_t number_setting(const char* name, const char* fallback) {
  return number_of(setting(name, fallback));
}
inline double real_setting(const char* name, const char* fallback) {
  return std::strtod(setting(name, fallback).c_str(), nullptr);
}

// The words of a list with commas or blanks between them.
inline std::vector<std::string> list_of(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t from = 0; from <= text.size();) {
    const size_t comma = std::min(text.find_first_of(", ", from), text.size());
    if (comma > from) parts.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return parts;
}

// Whether a list, or "all", has `name`.
inline bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& word) { return word == "all" || word == name; });
}
inline bool is_chosen(const char* variable, std::string_view name) {
  return contains(list_of(setting(variable, "all")), name);
}

inline void print_machine() {
  std::array<char, 256> cpu{"unknown"};
  if (FILE* info = std::fopen("/proc/cpuinfo", "r"); info != nullptr) {
    std::array<char, 256> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), info) != nullptr) {
      if (std::strncmp(line.data(), "model name", 10) == 0) {
        std::snprintf(cpu.data(), cpu.size(), "%s", std::strchr(line.data(), ':') + 2);
        cpu[std::strcspn(cpu.data(), "\n")] = '\0';
        break;
      }
    }
    std::fclose(info);
  }
  std::printf("# machine: %s, %ld cores, %.1f GiB; compiler: %s; commit: %s\n", cpu.data(),
              sysconf(_SC_NPROCESSORS_ONLN),
              static_cast<double>(sysconf(_SC_PHYS_PAGES)) * 4096 / 0x1p30, __VERSION__,
              KYRO_COMMIT);
}

}  // namespace kyro::bench
