// Lines out of a stream of bytes, with bounded memory: files, pipes, and bodies of HTTP answers.
//
// Thread rule: one thread. Ownership: sources borrow their descriptor or client.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/net/client/http_client.h"

namespace kyro {

class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;

  // Appends what comes next, at least one byte unless that was all.
  virtual Status read(std::string* out, bool* is_at_end) = 0;
};

class FdSource final : public ByteSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}

  Status read(std::string* out, bool* is_at_end) override {
    constexpr size_t kReadBytes = 256 * 1024;
    const size_t before = out->size();
    out->resize(before + kReadBytes);
    ssize_t got = -1;
    do {
      got = ::read(fd_, out->data() + before, kReadBytes);
    } while (got < 0 && errno == EINTR);
    out->resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got < 0) return Status(Code::kIoError, std::string("read: ") + strerrordesc_np(errno));
    bytes_read_ += static_cast<uint64_t>(got);
    *is_at_end = got == 0;
    return {};
  }

  [[nodiscard]] uint64_t bytes_read() const { return bytes_read_; }

 private:
  const int fd_;
  uint64_t bytes_read_ = 0;
};

// The body of an answer whose head has been received.
class HttpBodySource final : public ByteSource {
 public:
  explicit HttpBodySource(HttpClient& client) : client_(client) {}
  Status read(std::string* out, bool* is_at_end) override {
    return client_.receive_body(out, is_at_end);
  }

 private:
  HttpClient& client_;
};

class LineReader {
 public:
  static constexpr size_t kLineBytesMax = 128u << 20;

  explicit LineReader(ByteSource& source, std::string_view already_read = {})
      : source_(source), buffer_(already_read) {}

  // The next line without its end ("\n" or "\r\n"; missing at the end of the input is fine); false
  // at the end. Errors: the source's, kTooLarge. The view is valid until the next call.
  Result<bool> next(std::string_view* line) {
    for (;;) {
      const size_t end = buffer_.find('\n', scanned_);
      if (end != std::string::npos) {
        *line = take(end);
        begin_ = scanned_ = end + 1;
        return true;
      }
      scanned_ = buffer_.size();
      if (is_at_end_) {
        *line = take(scanned_);
        begin_ = scanned_;
        return !line->empty();
      }
      buffer_.erase(0, begin_);
      scanned_ -= begin_;
      begin_ = 0;
      if (buffer_.size() > kLineBytesMax) return Status(Code::kTooLarge, "a line is too long");
      KYRO_TRY(source_.read(&buffer_, &is_at_end_));
    }
  }

 private:
  std::string_view take(size_t end) const {
    std::string_view line = std::string_view(buffer_).substr(begin_, end - begin_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  ByteSource& source_;
  std::string buffer_;
  size_t begin_ = 0;
  size_t scanned_ = 0;
  bool is_at_end_ = false;
};

}  // namespace kyro
