// One-line log events on stderr.
//
//   log_event(LogLevel::kInfo, "flushed", {{"run", id}, {"records", n}});
//
// Invariant: nobody waits for whoever reads the log. Where there is a LogWriter (in a server) its
// thread writes; elsewhere the line is written here where there is room for it at once, and else
// dropped and counted. Lines of concurrent threads never mix.
//
// Thread rule: from anywhere.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "kyro/base/log/log_line.h"
#include "kyro/base/log/log_writer.h"
#include "kyro/base/mutex.h"

namespace kyro {
namespace log_detail {

struct Unwritten {
  Mutex mutex;  // between poll() and write() nobody else of this process fills the pipe
  uint64_t lines KYRO_GUARDED_BY(mutex) = 0;  // dropped, and no line has told of it
};

// Writes a line without a LogWriter.
inline void write_at_once(std::string_view line) {
  static Unwritten unwritten;
  const MutexLock lock(unwritten.mutex);
  std::string with_count;
  if (unwritten.lines != 0) {
    append_log_line(with_count, LogLevel::kWarn, "log_lines_dropped", {{"count", unwritten.lines}});
    line = with_count.append(line);
  }
  const uint64_t before = unwritten.lines;
  unwritten.lines = 0;
  while (!line.empty()) {
    const ssize_t written = write_some(STDERR_FILENO, line, 0);
    if (written <= 0) break;
    line.remove_prefix(static_cast<size_t>(written));
  }
  if (line.empty()) return;
  unwritten.lines = before + 1;
  log_lines_dropped().fetch_add(1, std::memory_order_relaxed);
}

}  // namespace log_detail

// Writes whole lines, or has them written, without waiting.
inline void write_log(std::string_view lines) {
  if (LogWriter* const writer = LogWriter::installed().load(std::memory_order_acquire)) {
    return writer->add(LogWriter::Kind::kEvents, lines, log_detail::count_lines(lines));
  }
  log_detail::write_at_once(lines);
}

inline void log_event(LogLevel level, std::string_view event,
                      std::initializer_list<LogField> fields = {}) {
  if (!is_logged(level)) return;
  std::string line;
  append_log_line(line, level, event, fields);
  write_log(line);
}

}  // namespace kyro
