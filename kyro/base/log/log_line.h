// The line of a log event: a time, a level, a name and fields. Text or JSON.
//
//   append_log_line(line, LogLevel::kInfo, "flushed", {{"run", id}, {"records", n}});
//   2026-01-31T12:00:00.123Z info flushed run=7 records=1000
//   {"ts":"2026-01-31T12:00:00.123Z","level":"info","event":"flushed","run":7,"records":1000}
//
// Values of keys are never logged. Thread rule: log_config() is written before threads start, later
// by set_log_config() only; the rest
// is pure.
#pragma once

#include <time.h>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>

#include "kyro/base/text/json_text.h"
#include "kyro/base/text/utf8.h"

namespace kyro {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError, kOff };

struct LogConfig {
  LogLevel level = LogLevel::kInfo;
  bool json = false;
};

inline LogConfig& log_config() {
  static LogConfig config;
  return config;
}
// The same while other threads log.
inline void set_log_config(const LogConfig& config) {
  std::atomic_ref(log_config().level).store(config.level, std::memory_order_relaxed);
  std::atomic_ref(log_config().json).store(config.json, std::memory_order_relaxed);
}
[[nodiscard]] inline bool is_logged(LogLevel level) {
  return level >= std::atomic_ref(log_config().level).load(std::memory_order_relaxed);
}

// A field of an event: a number or a text (quoted and escaped as needed).
class LogField {
 public:
  LogField(std::string_view name, std::string_view text) : name_(name), text_(text) {}
  LogField(std::string_view name, const char* text) : name_(name), text_(text) {}
  LogField(std::string_view name, const std::string& text) : name_(name), text_(text) {}
  template <std::integral T>
  LogField(std::string_view name, T number)
      : name_(name), text_(std::to_string(number)), is_number_(true) {}

  void append_to(std::string& line, bool json) const {
    if (json) {
      line.append(",\"").append(name_).append("\":");
      append_value(line, !is_number_);
    } else {
      line.append(" ").append(name_).append("=");
      append_value(line, !is_one_word());
    }
  }

 private:
  // Visible, and nothing that could be taken for another field.
  [[nodiscard]] bool is_one_word() const {
    return !text_.empty() && is_valid_utf8(text_) &&
           std::none_of(text_.begin(), text_.end(), [](char c) {
             return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F || c == '"' || c == '\\' ||
                    c == '=';
           });
  }

  // Quoted, it is a JSON string whatever the text holds; bytes that are no UTF-8 become U+FFFD.
  void append_value(std::string& line, bool quoted) const {
    if (!quoted) {
      line += text_;
      return;
    }
    line += '"';
    for (size_t at = 0; at < text_.size();) {
      const size_t bytes = utf8_sequence_bytes(std::string_view(text_).substr(at));
      if (bytes == 0) {
        line += "\\ufffd";
      } else if (text_[at] == 0x7F) {  // harmless in JSON, not on a terminal
        line += "\\u007f";
      } else {
        append_json_text(line, std::string_view(text_).substr(at, bytes));
      }
      at += bytes != 0 ? bytes : 1;
    }
    line += '"';
  }

  std::string_view name_;
  std::string text_;
  bool is_number_ = false;
};

inline const char* log_level_name(LogLevel level) {
  constexpr const char* kNames[] = {"debug", "info", "warn", "error", "off"};
  return kNames[static_cast<size_t>(level)];
}

// Appends the line of an event.
inline void append_log_line(std::string& line, LogLevel level, std::string_view event,
                            std::initializer_list<LogField> fields) {
  const bool json = std::atomic_ref(log_config().json).load(std::memory_order_relaxed);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char stamp[48];
  std::snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<int>(now.tv_nsec / 1000000));
  if (json) {
    line.append("{\"ts\":\"").append(stamp).append("\",\"level\":\"");
    line.append(log_level_name(level)).append("\",\"event\":\"").append(event).append("\"");
  } else {
    line.append(stamp).append(" ").append(log_level_name(level)).append(" ").append(event);
  }
  for (const LogField& field : fields) field.append_to(line, json);
  line.append(json ? "}\n" : "\n");
}

}  // namespace kyro
