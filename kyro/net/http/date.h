// The Date of answers, formatted once a second (IMF-fixdate, RFC 9110 section 5.6.7).
//
// Thread rule: one HttpDate per reactor.
#pragma once

#include <time.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace kyro {

class HttpDate {
 public:
  // Once per round; true when the second has changed.
  bool refresh(uint64_t now_ns) {
    if (now_ns < due_ns_) return false;
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    due_ns_ = now_ns + 1'000'000'000u - static_cast<uint64_t>(now.tv_nsec);
    set(now.tv_sec);
    return true;
  }
  // Seconds since 1970.
  void set(time_t seconds) {
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    tm utc{};
    gmtime_r(&seconds, &utc);
    const int n = std::snprintf(text_.data(), text_.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                                kDays[utc.tm_wday], utc.tm_mday, kMonths[utc.tm_mon],
                                utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    bytes_ = static_cast<size_t>(n);
    ++version_;
  }
  [[nodiscard]] std::string_view text() const { return {text_.data(), bytes_}; }
  // Changes with the text.
  [[nodiscard]] uint64_t version() const { return version_; }

 private:
  uint64_t due_ns_ = 0;
  uint64_t version_ = 0;
  std::array<char, 64> text_{};
  size_t bytes_ = 0;
};

}  // namespace kyro
