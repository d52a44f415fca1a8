// A new store out of many records at once: they go straight into a run, past log and delta.
//
//   auto loader = kyro::Loader::begin(fs, "data");            // a new or empty directory
//   (*loader)->put(key, value);                               // in any order; the last one wins
//   (*loader)->finish();                                      // now it is a store
//
// Records are numbered in the order in which they come, from 0; the log begins after them. Until
// finish() is ok the directory is no store: a mark lies in it that says so, and the manifest comes
// last. What a crash leaves an opening refuses, and the next load of that directory removes.
//
//   mark, durable → sorted temporary files → run, index, durable → temporary files go → manifest,
//   durable: the store is there → the mark goes (or the next opening removes it)
//
// Thread rule: one thread. Ownership: the directory, until this is destroyed; what is in it is
// removed then unless finish() was ok.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/fs/fs.h"
#include "kyro/storage/manifest.h"
#include "kyro/storage/offline/record_sorter.h"
#include "kyro/storage/run/run_writer.h"

namespace kyro {

struct LoadStats {
  uint64_t records = 0;       // that came
  uint64_t live_records = 0;  // that are in the store: the last one of each key
};

class Loader {
 public:
  static constexpr uint64_t kMemoryBytesMin = 64 * kKiB;

  struct Settings {
    uint64_t memory_bytes = 256 * kMiB;  // for sorting; of the index a little more
    RmiOptions rmi = {};
  };

  // Errors: kExists (not empty), kBusy (in use), kInvalid, kNoSpace, kIoError.
  [[nodiscard]] static Result<std::unique_ptr<Loader>> begin(FileSystem& fs,
                                                             const std::string& path,
                                                             const Settings& settings) {
    KYRO_TRY(settings.rmi.validate());
    if (settings.memory_bytes < kMemoryBytesMin) {
      return Status(Code::kInvalid, "a load needs 64 KiB of memory at least");
    }
    auto dir = fs.open_dir(path, DirMode::kExisting);
    const bool was_there = dir.ok();
    if (!was_there) dir = fs.open_dir(path, DirMode::kCreate);
    KYRO_TRY(dir);
    KYRO_TRY(check_content(**dir));  // before a LOCK is left in somebody's directory
    KYRO_TRY((*dir)->lock(LockKind::kOwner));
    std::unique_ptr<Loader> loader(new Loader(fs, path, std::move(*dir), settings, was_there));
    KYRO_TRY(loader->take_directory());
    return loader;
  }

  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader() {
    sorter_.reset();
    if (is_finished_) return;
    if (owns_content_) static_cast<void>(clear());
    if (!was_there_) remove_directory();
  }

  // `expiry_secs` is Unix time, 0 for never. Errors: kTooLarge, kNoSpace, kIoError; after the last
  // two it can only be given up.
  Status put(uint64_t key, std::string_view value, uint64_t expiry_secs = 0) {
    const uint64_t bytes_max = std::min(sorter_->record_bytes_max(), kValueBytesCeiling);
    if (kRecordHeaderBytes + value.size() > bytes_max) {
      return Status(Code::kTooLarge, "a value of " + std::to_string(value.size()) +
                                         " bytes does not fit into the memory of this load");
    }
    if (expiry_secs > kExpirySecsMax) return Status(Code::kInvalid, "expiry too far");
    return sorter_->add(Mutation::put(key, value, expiry_secs), stats_.records++);
  }
  // Takes an offset, and takes back what was put under this key before.
  Status remove(uint64_t key) { return sorter_->add(Mutation::remove(key), stats_.records++); }

  // Makes the store. `progress(n)` is called now and then: so many records are in the run.
  template <class Progress>
  Result<LoadStats> finish(Progress progress) {
    Manifest manifest;
    manifest.database_id = new_database_id();
    manifest.next_offset = manifest.flushed_offset = stats_.records;
    manifest.next_run = kRunId + 1;
    KYRO_TRY(write_run(&manifest, progress));
    sorter_->remove_files();
    bool renamed = false;
    KYRO_TRY(write_file_atomically(*dir_, kManifestName, encode_manifest(manifest), &renamed));
    is_finished_ = true;
    if (dir_->remove(kLoadMarkName).ok()) static_cast<void>(dir_->sync());
    return stats_;
  }
  Result<LoadStats> finish() {
    return finish([](uint64_t) {});
  }

 private:
  static constexpr uint64_t kRunId = 1;
  static constexpr uint64_t kRecordsPerReport = 65536;

  Loader(FileSystem& fs, std::string path, std::unique_ptr<Directory> dir, const Settings& settings,
         bool was_there)
      : fs_(fs),
        path_(std::move(path)),
        dir_(std::move(dir)),
        settings_(settings),
        was_there_(was_there) {}

  // Whether nothing is in a directory but what an interrupted load has left; the names of that.
  static Result<std::vector<std::string>> check_content(Directory& dir) {
    auto names = dir.list();
    KYRO_TRY(names);
    const auto has = [&](std::string_view name) {
      return std::find(names->begin(), names->end(), name) != names->end();
    };
    const bool is_unfinished = has(kLoadMarkName) && !has(kManifestName);
    for (const std::string& name : *names) {
      const bool is_leftover = is_unfinished && (is_data_name(name) || is_temporary_name(name));
      if (name == kLockName || is_stray_name(name) || is_leftover) continue;
      return Status(Code::kExists, dir.path() + ": not empty (there is " + name +
                                       " in it); a load makes a new store");
    }
    std::erase_if(*names, [](const std::string& name) {
      return name == kLoadMarkName || name == kLockName || is_stray_name(name);
    });
    return names;
  }

  // Empties the directory and marks it.
  Status take_directory() {
    auto leftovers = check_content(*dir_);
    KYRO_TRY(leftovers);
    owns_content_ = true;
    if (!dir_->open(kLoadMarkName, OpenMode::kRead).ok()) {
      auto mark = dir_->open(kLoadMarkName, OpenMode::kCreate);
      KYRO_TRY(mark);
      KYRO_TRY((*mark)->sync());
    }
    KYRO_TRY(dir_->sync());
    KYRO_TRY(dir_->sync_own_name());
    for (const std::string& name : *leftovers) KYRO_TRY(dir_->remove(name));
    sorter_ = std::make_unique<RecordSorter>(*dir_, kRunId + 1, settings_.memory_bytes);
    return Status();
  }

  template <class Progress>
  Status write_run(Manifest* manifest, Progress& progress) {
    KYRO_TRY(sorter_->finish());
    RunWriter writer(*dir_, kRunId, settings_.rmi);
    KYRO_TRY(writer.write([&](auto visit) {
      return sorter_->walk([&](const RecordHeader& header, std::string_view record) {
        if (header.type() == RecordType::kTombstone) return Status();  // nothing older is there
        if (writer.records() % kRecordsPerReport == 0) progress(writer.records());
        return visit(header, record);
      });
    }));
    stats_.live_records = writer.records();
    if (writer.records() == 0) {
      writer.abandon();
      return dir_->sync();
    }
    auto meta = writer.finish(0, stats_.records);
    KYRO_TRY(meta);
    manifest->runs.push_back(*meta);
    return Status();
  }

  // Removes what was made, the manifest first and the mark last.
  Status clear() {
    auto names = dir_->list();
    KYRO_TRY(names);
    if (std::find(names->begin(), names->end(), kManifestName) != names->end()) {
      KYRO_TRY(dir_->remove(kManifestName));
      KYRO_TRY(dir_->sync());
    }
    for (const std::string& name : *names) {
      const bool is_made = is_data_name(name) || is_temporary_name(name);
      if (is_made && name != kLoadMarkName) KYRO_TRY(dir_->remove(name));
    }
    KYRO_TRY(dir_->sync());
    return dir_->remove(kLoadMarkName);
  }
  void remove_directory() {
    dir_.reset();  // and with it the lock
    auto dir = fs_.open_dir(path_, DirMode::kExisting);
    if (dir.ok() && (*dir)->remove(kLockName).ok()) static_cast<void>((*dir)->remove_itself());
  }

  FileSystem& fs_;
  const std::string path_;
  std::unique_ptr<Directory> dir_;
  const Settings settings_;
  const bool was_there_;
  bool owns_content_ = false;
  bool is_finished_ = false;
  std::unique_ptr<RecordSorter> sorter_;
  LoadStats stats_;
};

}  // namespace kyro
