#include "kyro/base/log/log_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>

#include "kyro/base/log/log.h"

namespace kyro {
namespace {

// A pipe that is full from the start: whoever writes to it would wait.
class FullPipe {
 public:
  FullPipe() {
    REQUIRE(pipe2(ends_, O_CLOEXEC | O_NONBLOCK) == 0);
    const std::string block(4096, '.');
    while (::write(ends_[1], block.data(), block.size()) > 0) {
    }
    for (const int end : ends_) REQUIRE(fcntl(end, F_SETFL, 0) == 0);
  }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  ~FullPipe() {
    ::close(ends_[0]);
    close_writer();
  }
  void close_writer() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  [[nodiscard]] int writer() const { return ends_[1]; }
  void make_room() const {
    char buffer[8192];
    REQUIRE(::read(ends_[0], buffer, sizeof buffer) > 0);
  }
  // Everything until the writers have gone, without what it was filled with.
  std::string read_all() {
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(ends_[0], buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<size_t>(n));
    }
    return text.substr(std::min(text.size(), text.find_first_not_of('.')));
  }

 private:
  int ends_[2] = {-1, -1};
};

uint64_t number_behind(const std::string& text, const std::string& name) {
  const size_t at = text.rfind(name);
  return at == text.npos ? 0 : std::stoull(text.substr(at + name.size()));
}

TEST_CASE("a reader that stands still costs lines, which are counted, told and never cut") {
  FullPipe pipe;
  constexpr uint64_t kLines = 100'000;
  const std::string line = std::string(99, 'x') + "\n";
  const uint64_t before = log_lines_dropped();
  auto writer = std::make_unique<LogWriter>(pipe.writer());
  REQUIRE(writer->status().ok());
  for (uint64_t i = 0; i < kLines; ++i) writer->add(LogWriter::Kind::kRequests, line, 1);
  const uint64_t dropped = log_lines_dropped() - before;
  CHECK(dropped > 0);
  // Requests do not crowd events out.
  writer->add(LogWriter::Kind::kEvents, "event\n", 1);
  CHECK(log_lines_dropped() - before == dropped);
  std::string text;
  std::thread reader([&] { text = pipe.read_all(); });
  writer.reset();
  pipe.close_writer();
  reader.join();
  uint64_t whole = 0;
  for (size_t at = 0; (at = text.find(line, at)) != text.npos; at += line.size()) ++whole;
  CHECK(whole + dropped == kLines);
  CHECK(text.find("\nevent\n") != text.npos);
  CHECK(number_behind(text, "requests_not_logged count=") == dropped);
}

TEST_CASE("the end does not wait for a reader that never comes") {
  FullPipe pipe;
  const uint64_t before = log_lines_dropped();
  {
    LogWriter writer(pipe.writer());
    writer.add(LogWriter::Kind::kEvents, "one\ntwo\n", 2);
  }
  CHECK(log_lines_dropped() - before == 2);
}

TEST_CASE("without a writer a line is dropped where it would wait, and the next one says so") {
  FullPipe pipe;
  const int before = dup(STDERR_FILENO);
  REQUIRE(dup2(pipe.writer(), STDERR_FILENO) == STDERR_FILENO);
  const uint64_t dropped_before = log_lines_dropped();
  log_event(LogLevel::kError, "lost");
  log_event(LogLevel::kError, "lost");
  const uint64_t dropped = log_lines_dropped() - dropped_before;
  pipe.close_writer();
  pipe.make_room();
  log_event(LogLevel::kError, "seen");
  dup2(before, STDERR_FILENO);
  ::close(before);
  const std::string text = pipe.read_all();
  CHECK(dropped == 2);
  CHECK(text.find("lost") == text.npos);
  CHECK(number_behind(text, "log_lines_dropped count=") == 2);
  CHECK(text.find("seen") != text.npos);
}

}  // namespace
}  // namespace kyro
