// One file of the simulated file system: what the process sees, what the disk is bound to keep, and
// the changes between the two; and what a power cut may make of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace kyro::test {

// What a power cut does to changes that were not synced.
enum class Loss : uint8_t {
  kEverything,   // all of them are gone
  kNothing,      // all of them arrived
  kSectors512,   // any combination of sectors, sizes and names
  kSectors4096,  // the same with larger sectors
  kTorn,         // in order up to some byte
  kZeros,        // sizes and names arrived, data did not
};
inline constexpr Loss kLosses[] = {Loss::kEverything,  Loss::kNothing, Loss::kSectors512,
                                   Loss::kSectors4096, Loss::kTorn,    Loss::kZeros};

// A write, or a change of the size.
struct FileChange {
  bool is_write;
  uint64_t at;  // position of a write, or the new size
  std::string bytes;
  bool lost = false;  // a failed sync dropped it

  void apply_to(std::string* file) const {
    if (!is_write) {
      file->resize(at);
      return;
    }
    if (file->size() < at + bytes.size()) file->resize(at + bytes.size());
    std::memcpy(file->data() + at, bytes.data(), bytes.size());
  }
};

struct FileImage {
  std::string live;
  std::string durable;
  std::vector<FileChange> pending;  // live minus durable
  uint64_t hole_bytes = 0;  // at the end of live: never written nor reserved, they take no room

  [[nodiscard]] uint64_t used_bytes() const { return live.size() - hole_bytes; }

  void change(FileChange what) {
    const uint64_t used = what.is_write ? std::max(used_bytes(), what.at + what.bytes.size())
                                        : std::min(used_bytes(), what.at);
    what.apply_to(&live);
    pending.push_back(std::move(what));
    hole_bytes = live.size() - used;
  }
  // Blocks for [0, size).
  void allocate(uint64_t size) {
    if (size > live.size()) change({false, size, {}});
    hole_bytes = std::min(hole_bytes, live.size() - size);
  }

  // The bytes of a file that a disk kept.
  [[nodiscard]] std::string surviving_bytes(Loss loss, std::mt19937_64& random) const {
    if (loss == Loss::kEverything) return durable;
    if (loss == Loss::kNothing) return live;
    std::string bytes = durable;
    uint64_t size = bytes.size();
    const uint64_t sector = loss == Loss::kSectors4096 ? 4096 : 512;
    const size_t torn_at = random() % (pending.size() + 1);
    for (size_t i = 0; i < pending.size(); ++i) {
      const FileChange& change = pending[i];
      if (loss == Loss::kTorn && i > torn_at) break;
      const bool in_part = loss == Loss::kTorn && i == torn_at;
      const bool size_arrives = loss == Loss::kZeros || (loss == Loss::kTorn && !in_part) ||
                                (loss != Loss::kTorn && random() % 2 == 0);
      if (!change.is_write) {
        if (!size_arrives) continue;
        if (change.at < bytes.size()) bytes.resize(change.at);
        size = change.at;
        continue;
      }
      uint64_t keep = change.bytes.size();
      if (in_part) keep = random() % (keep + 1);
      if (bytes.size() < change.at + keep) bytes.resize(change.at + keep);
      for (uint64_t at = change.at; at < change.at + keep;) {
        const uint64_t end = std::min((at / sector + 1) * sector, change.at + keep);
        const bool arrives = loss == Loss::kTorn || (loss != Loss::kZeros && random() % 2 == 0);
        if (arrives) {
          std::memcpy(bytes.data() + at, change.bytes.data() + (at - change.at), end - at);
        }
        at = end;
      }
      if (size_arrives || in_part) size = std::max(size, change.at + keep);
    }
    bytes.resize(size);
    return bytes;
  }
};

}  // namespace kyro::test
