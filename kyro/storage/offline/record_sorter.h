// Puts records into the order of their keys, however many there are: an external merge sort.
//
// Records gather in one buffer: encoded ones from its front, (key, place) from its back. When it is
// full it is sorted, where it is not in order already, and goes to a temporary file; sixteen files
// of a level become one of the next, so there are few of them at any time. Of the records of a key
// the last one added counts, within a buffer and across files, which are kept in the order of age.
//
// Memory: the buffer, untouched where little was added, and a read buffer for each file of a merge.
//
// Thread rule: one thread. Ownership: the temporary files are this object's, and are removed with
// it; after a crash, an opening of the directory removes them (is_temporary_name()).
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/fs/directory.h"
#include "kyro/storage/record.h"
#include "kyro/storage/run/file_sink.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

class RecordSorter {
 public:
  // Its files are named as spools of runs from `first_id` on are.
  RecordSorter(Directory& dir, uint64_t first_id, uint64_t memory_bytes)
      : dir_(dir),
        next_id_(first_id),
        buffer_bytes_(memory_bytes / sizeof(Entry) * sizeof(Entry)),
        buffer_(new char[buffer_bytes_]) {}
  RecordSorter(const RecordSorter&) = delete;
  RecordSorter& operator=(const RecordSorter&) = delete;
  ~RecordSorter() { remove_files(); }

  // The largest record that it takes.
  [[nodiscard]] uint64_t record_bytes_max() const { return buffer_bytes_ - sizeof(Entry); }

  // REQUIRES: the record is not larger than record_bytes_max().
  Status add(const Mutation& mutation, uint64_t offset) {
    const uint64_t bytes = mutation.record_bytes();
    KYRO_CHECK(bytes <= record_bytes_max());
    if (used_ + bytes + (count_ + 1) * sizeof(Entry) > buffer_bytes_) KYRO_TRY(spill());
    encode_record(mutation, offset, buffer_.get() + used_);
    is_in_order_ = is_in_order_ && (count_ == 0 || mutation.key >= last_key_);
    last_key_ = mutation.key;
    entries_end()[-1 - static_cast<std::ptrdiff_t>(count_)] = {mutation.key, used_};
    ++count_;
    used_ += bytes;
    return Status();
  }

  // Nothing more is added: what is left joins the rest. Then walk() may be called, again and again.
  Status finish() {
    if (files_.empty()) return sort(), Status();
    KYRO_TRY(spill());
    buffer_.reset();
    return Status();
  }

  // Calls visit(header, encoded record), which returns a Status, for the last record of each key,
  // keys ascending.
  template <class Visit>
  Status walk(Visit visit) {
    return files_.empty() ? walk_buffer(visit) : merge({files_.data(), files_.size()}, visit);
  }

  void remove_files() {
    for (const SortedFile& file : files_) static_cast<void>(dir_.remove(run_spool_name(file.id)));
    files_.clear();
  }

 private:
  static constexpr size_t kFanIn = 16;
  static constexpr size_t kReadBytes = 512 << 10;

  struct Entry {
    uint64_t key;
    uint64_t place;
    bool operator<(const Entry& other) const {
      return key != other.key ? key < other.key : place < other.place;
    }
  };
  struct SortedFile {
    uint64_t id;
    uint32_t level;
    uint64_t bytes;
  };

  // Reads the records of a sorted file one after the other.
  class Reader {
   public:
    Status open(Directory& dir, const SortedFile& sorted) {
      auto file = dir.open(run_spool_name(sorted.id), OpenMode::kRead);
      KYRO_TRY(file);
      file_ = std::move(*file);
      left_bytes_ = sorted.bytes;
      return next();
    }
    [[nodiscard]] bool at_end() const { return is_at_end_; }
    [[nodiscard]] const RecordHeader& header() const { return header_; }
    [[nodiscard]] std::string_view record() const {
      return std::string_view(buffer_).substr(begin_, static_cast<size_t>(header_.record_bytes()));
    }
    Status next() {
      begin_ = end_;
      if (begin_ == buffer_.size() && left_bytes_ == 0) {
        is_at_end_ = true;
        return Status();
      }
      KYRO_TRY(need(kRecordHeaderBytes));
      header_ = load<RecordHeader>(buffer_.data() + begin_);
      KYRO_TRY(need(static_cast<size_t>(header_.record_bytes())));
      end_ = begin_ + static_cast<size_t>(header_.record_bytes());
      return Status();
    }

   private:
    Status need(size_t bytes) {
      if (buffer_.size() - begin_ >= bytes) return Status();
      buffer_.erase(0, begin_);
      begin_ = 0;
      const size_t had = buffer_.size();
      const auto wanted =
          static_cast<size_t>(std::min<uint64_t>(left_bytes_, std::max(bytes - had, kReadBytes)));
      buffer_.resize(had + wanted);
      auto got = file_->read_at(position_, buffer_.data() + had, wanted);
      KYRO_TRY(got);
      if (*got != wanted || buffer_.size() < bytes) {
        return Status(Code::kIoError, "a temporary file of the sort is shorter than it was made");
      }
      position_ += wanted;
      left_bytes_ -= wanted;
      return Status();
    }

    std::unique_ptr<File> file_;
    std::string buffer_;
    size_t begin_ = 0;  // of the record
    size_t end_ = 0;
    uint64_t position_ = 0;  // in the file, of what is read next
    uint64_t left_bytes_ = 0;
    RecordHeader header_{};
    bool is_at_end_ = false;
  };

  [[nodiscard]] Entry* entries_end() const {
    return reinterpret_cast<Entry*>(buffer_.get() + buffer_bytes_);
  }
  // The first entry lies last.
  [[nodiscard]] std::reverse_iterator<Entry*> first() const {
    return std::make_reverse_iterator(entries_end());
  }

  void sort() {
    if (!is_in_order_) std::sort(first(), first() + static_cast<std::ptrdiff_t>(count_));
    is_in_order_ = true;
  }

  template <class Visit>
  Status walk_buffer(Visit& visit) {
    const auto begin = first();
    for (size_t i = 0; i < count_; ++i) {
      const Entry& entry = begin[static_cast<std::ptrdiff_t>(i)];
      if (i + 1 < count_ && begin[static_cast<std::ptrdiff_t>(i + 1)].key == entry.key) continue;
      const char* const record = buffer_.get() + entry.place;
      const auto header = load<RecordHeader>(record);
      KYRO_TRY(visit(header, {record, static_cast<size_t>(header.record_bytes())}));
    }
    return Status();
  }

  // Takes the smallest record of several files until all are at their end. Of equal keys the one of
  // the newest file, which comes last in `files`, counts.
  template <class Visit>
  Status merge(std::span<const SortedFile> files, Visit visit) {
    std::vector<Reader> readers(files.size());
    std::vector<size_t> heap;  // the reader whose record comes first is at its front
    const auto comes_later = [&readers](size_t a, size_t b) {
      const uint64_t key_a = readers[a].header().key;
      const uint64_t key_b = readers[b].header().key;
      return key_a != key_b ? key_a > key_b : a < b;
    };
    for (size_t i = 0; i < files.size(); ++i) {
      KYRO_TRY(readers[i].open(dir_, files[i]));
      if (!readers[i].at_end()) heap.push_back(i);
    }
    std::make_heap(heap.begin(), heap.end(), comes_later);
    bool has_given = false;
    uint64_t given_key = 0;
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), comes_later);
      const size_t at = heap.back();
      Reader& reader = readers[at];
      heap.pop_back();
      do {  // in files that do not overlap it stays with one
        if (!has_given || reader.header().key != given_key) {
          KYRO_TRY(visit(reader.header(), reader.record()));
        }
        has_given = true;
        given_key = reader.header().key;
        KYRO_TRY(reader.next());
      } while (!reader.at_end() && (heap.empty() || comes_later(heap.front(), at)));
      if (reader.at_end()) continue;
      heap.push_back(at);
      std::push_heap(heap.begin(), heap.end(), comes_later);
    }
    return Status();
  }

  // The buffer becomes a file.
  Status spill() {
    if (count_ == 0) return Status();
    sort();
    KYRO_TRY(write_file(0, [this](auto& visit) { return walk_buffer(visit); }));
    count_ = 0;
    used_ = 0;
    return merge_level(0);
  }

  // Where there are enough files of a level, they become one of the next.
  Status merge_level(uint32_t level) {
    const auto is_of_level = [level](const SortedFile& file) { return file.level == level; };
    const auto of_level = std::find_if(files_.begin(), files_.end(), is_of_level);
    const auto from = static_cast<size_t>(of_level - files_.begin());
    if (files_.size() - from < kFanIn) return Status();
    const std::vector<SortedFile> inputs(of_level, files_.end());
    KYRO_TRY(write_file(level + 1, [&](auto& visit) { return merge(inputs, visit); }));
    for (const SortedFile& input : inputs) KYRO_TRY(dir_.remove(run_spool_name(input.id)));
    files_.erase(files_.begin() + static_cast<std::ptrdiff_t>(from), files_.end() - 1);
    return merge_level(level + 1);
  }

  template <class Walk>
  Status write_file(uint32_t level, Walk walk) {
    const uint64_t id = next_id_++;
    auto file = dir_.open(run_spool_name(id), OpenMode::kCreate);
    KYRO_TRY(file);
    files_.push_back({id, level, 0});  // to be removed, whatever happens
    FileSink sink(std::move(*file), FileSink::Use::kTemporary);
    const auto append = [&sink](const RecordHeader&, std::string_view record) {
      return sink.append(record.data(), record.size());
    };
    KYRO_TRY(walk(append));
    KYRO_TRY(sink.flush());
    files_.back().bytes = sink.size();
    return Status();
  }

  Directory& dir_;
  uint64_t next_id_;
  const uint64_t buffer_bytes_;
  std::unique_ptr<char[]> buffer_;
  uint64_t used_ = 0;  // bytes of records
  size_t count_ = 0;   // of records in the buffer
  uint64_t last_key_ = 0;
  bool is_in_order_ = true;
  std::vector<SortedFile> files_;  // oldest records first
};

}  // namespace kyro
