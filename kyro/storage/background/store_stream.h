// A running store as one tar archive, made piece by piece while it is sent: a backup without room
// for it on this machine.
//
// Holds all that was acknowledged before it began, and exactly a prefix of the log. The files are
// kept open (store_files.h), so merges take their names away but not them: as long as it is read,
// their room is not given back. Whoever reads it slowly is bounded by whoever lets it be read
// (server/reply/held_moments.h), which asks view() for the runs.
//
// The manifest is the last file, so an archive that was cut off is no store.
//
// Thread rule: begin() on a background thread, the rest by one thread afterwards.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/base/clock.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/background/store_files.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/fs/tar.h"

namespace kyro {

class StoreStream {
 public:
  // Errors: kBusy (shutting down, no descriptors), kCorruption, kIoError.
  [[nodiscard]] static Result<std::shared_ptr<StoreStream>> begin(EngineState& state,
                                                                  const Cancel& cancel) {
    KYRO_TRY(state.check_directory());
    auto stream = std::make_shared<StoreStream>();
    uint64_t end = 0;
    {
      // Files go only after a commit, and a new segment holds no acknowledged record before one.
      const MutexLock lock(state.manifest_mutex);
      end = state.visible.load(std::memory_order_acquire);
      Manifest manifest = state.manifest;
      manifest.clock = state.clock.anchor();
      stream->view_.runs = state.copy_view().runs;
      KYRO_TRY(stream->files_.gather(state.dir, manifest));
    }
    const auto next_offset = stream->files_.read_tail(end, cancel);
    KYRO_TRY(next_offset);
    stream->next_offset_ = *next_offset;
    stream->list_parts();
    return stream;
  }

  // Of the archive.
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // It holds everything below.
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  // Its runs.
  [[nodiscard]] const View& view() const { return view_; }

  // Appends at most `budget_bytes`; true at the end.
  Result<bool> write(std::string& out, size_t budget_bytes) {
    const size_t end = out.size() + budget_bytes;
    while (out.size() < end && part_ < parts_.size()) {
      const Part& part = parts_[part_];
      const uint64_t n = std::min<uint64_t>(end - out.size(), part.bytes - done_);
      if (part.file == nullptr) {
        out.append(part.text, done_, n);
      } else {
        const size_t before = out.size();
        out.resize(before + n);
        auto got = part.file->read_at(done_, out.data() + before, n);
        if (got.ok() && *got != n) {
          got = Status(Code::kCorruption, "a file is shorter than it was a moment ago");
        }
        if (!got.ok()) {
          out.resize(before);
          return got.status();
        }
      }
      done_ += n;
      if (done_ != part.bytes) continue;
      done_ = 0;
      ++part_;
    }
    return part_ == parts_.size();
  }

 private:
  // Bytes of a file from its beginning on, or of a text.
  struct Part {
    File* file;
    uint64_t bytes;
    std::string text;
  };

  void list_parts() {
    const uint64_t now_secs = unix_ns() / 1'000'000'000;
    const auto add_text = [this](std::string text) {
      bytes_ += text.size();
      if (!text.empty()) parts_.push_back({nullptr, text.size(), std::move(text)});
    };
    const auto add_file = [&](const std::string& name, File* file, uint64_t bytes,
                              const std::string& end) {
      const uint64_t all = bytes + end.size();
      add_text(encode_tar_head(name, all, now_secs));
      if (file != nullptr && bytes > 0) parts_.push_back({file, bytes, {}});
      bytes_ += bytes;
      add_text(end + std::string(tar_padded(all) - all, '\0'));
    };
    for (const StoreFiles::Held& held : files_.held()) {
      add_file(held.name, held.file.get(), held.bytes, {});
    }
    if (SegmentReader* const tail = files_.tail()) {
      add_file(tail->name(), &tail->file(), tail->position(), files_.end_mark());
    }
    add_file(kManifestName, nullptr, 0, encode_manifest(files_.manifest()));
    add_text(std::string(kTarEndBytes, '\0'));
  }

  StoreFiles files_;
  View view_;
  std::vector<Part> parts_;
  size_t part_ = 0;    // the one that comes next
  uint64_t done_ = 0;  // bytes of it
  uint64_t bytes_ = 0;
  uint64_t next_offset_ = 0;
};

}  // namespace kyro
