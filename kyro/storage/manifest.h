// manifest.json: the commit point. What it names is the store; what it does not name is a leftover.
//
//   {"format":2,"database":"<32 hex digits>","generation":n,"next_offset":n,"flushed_offset":n,
//    "next_run":n,
//    "runs":[{"id","records","tombstones","expiring","key_min","key_max","first_offset",
//             "end_offset","record_bytes","record_crc"}, …],          newest first
//    "segments":[{"first_offset","nonce","previous_end"}, …],         oldest first
//    "clock":{"boot":"<32 hex digits or none>","boot_ns":n,"store_ns":n,"unix_ns":n},   if known
//    "crc":"<8 hex digits>"}
//
// One line. The crc is CRC32C of the bytes before `,"crc"`; it and "format" stay in their places in
// every format, so that a newer one can be told from damage. Numbers are exact (u64). Replaced by
// writing manifest.json.tmp, syncing it, renaming it, syncing the directory.
// Format 1 had no clock.
//
// Invariants: everything below flushed_offset is in the runs; everything below next_offset was
// synced when this was written; runs' offset ranges descend without overlap; segments ascend.
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/crc32c.h"
#include "kyro/base/random.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/json/json_reader.h"
#include "kyro/storage/lifetime_clock.h"
#include "kyro/storage/log/segment_ref.h"
#include "kyro/storage/log/wal_format.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr uint64_t kManifestFormat = 2;
inline constexpr uint64_t kManifestBytesMax = 16 * kMiB;

struct Manifest {
  std::string database_id;
  uint64_t generation = 0;
  uint64_t next_offset = 0;
  uint64_t flushed_offset = 0;
  uint64_t next_run = 1;
  std::vector<RunMeta> runs;         // newest first
  std::vector<SegmentRef> segments;  // oldest first; the last one is being written
  std::optional<ClockAnchor> clock;  // of the moment when this was written
};

// 32 hex digits that no other database has.
[[nodiscard]] inline std::string new_database_id() {
  char id[40];
  std::snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, random_u64(), random_u64());
  return id;
}

// The mark of a directory into which a store is being loaded (offline/loader.h).
inline constexpr char kLoadMarkName[] = "load.tmp";

// Names that make a directory a store; LOCK, RESERVE and temporary files do not.
[[nodiscard]] inline bool is_data_name(std::string_view name) {
  return parse_segment_name(name) || parse_run_name(name) ||
         parse_numbered(name, "run-", ".rmi").has_value();
}
// Files that an engine makes on the way to others. Anything else belongs to somebody else.
[[nodiscard]] inline bool is_temporary_name(std::string_view name) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.ends_with(kEnd)) return false;
  const std::string_view target = name.substr(0, name.size() - kEnd.size());
  return parse_segment_name(target) || parse_numbered(target, "run-", ".rmi") ||
         parse_numbered(target, "run-", ".keys") || parse_numbered(target, "run-", ".filter") ||
         target == kManifestName || name == kLoadMarkName || name == kSpareSegmentName;
}
[[nodiscard]] inline bool is_named(const Manifest& manifest, std::string_view name) {
  for (const RunMeta& run : manifest.runs) {
    if (name == run_data_name(run.id) || name == run_index_name(run.id)) return true;
  }
  for (const SegmentRef& segment : manifest.segments) {
    if (name == segment_name(segment.first_offset)) return true;
  }
  return false;
}

// What a directory without a manifest is: kCorruption where there is data, kExists where a load was
// interrupted, else ok: no store yet.
[[nodiscard]] inline Status check_no_data(const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), kLoadMarkName) != names.end()) {
    return Status(Code::kExists, "a load of this directory has not come to its end: load again");
  }
  for (const std::string& name : names) {
    if (!is_data_name(name)) continue;
    return Status(Code::kCorruption,
                  std::string(kManifestName) + ": missing, but " + name + " is there");
  }
  return Status();
}

// Takes the segments off the front that are wholly in runs: what is left is what a start needs.
inline void drop_flushed_segments(Manifest* manifest) {
  auto& segments = manifest->segments;
  size_t flushed = 0;
  while (flushed + 1 < segments.size() &&
         segments[flushed + 1].previous_end <= manifest->flushed_offset) {
    ++flushed;
  }
  segments.erase(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(flushed));
}

namespace manifest_detail {

// The fields of each object, in one place for writing, reading and completeness.
template <class Visit>
void visit_fields(RunMeta& run, Visit visit) {
  visit("id", run.id);
  visit("records", run.records);
  visit("tombstones", run.tombstones);
  visit("expiring", run.expiring);
  visit("key_min", run.key_min);
  visit("key_max", run.key_max);
  visit("first_offset", run.first_offset);
  visit("end_offset", run.end_offset);
  visit("record_bytes", run.record_bytes);
  visit("record_crc", run.record_crc);
}
template <class Visit>
void visit_fields(SegmentRef& segment, Visit visit) {
  visit("first_offset", segment.first_offset);
  visit("nonce", segment.nonce);
  visit("previous_end", segment.previous_end);
}

template <class T>
void append_objects(std::string& out, std::string_view name, const std::vector<T>& items) {
  out.append(",\"").append(name).append("\":[");
  for (size_t i = 0; i < items.size(); ++i) {
    T item = items[i];
    char separator = '{';
    if (i > 0) out += ',';
    visit_fields(item, [&](std::string_view field, auto& value) {
      out.append(1, separator).append("\"").append(field).append("\":");
      append_decimal(out, value);
      separator = ',';
    });
    out += '}';
  }
  out += ']';
}

inline bool read_integer(JsonReader& json, uint64_t max, uint64_t* out) {
  std::string_view token;
  if (!json.read_number(&token)) return false;
  const auto value = parse_u64(token);
  if (!value || *value > max) return json.fail("not an integer in range");
  *out = *value;
  return true;
}

// Reads {"field":n, …}; every field of T exactly once, none that T does not have.
template <class T>
bool read_object(JsonReader& json, T* item) {
  if (!json.enter_object()) return false;
  size_t seen = 0;
  std::string_view name;
  while (json.next_field(&name)) {
    size_t index = 0;
    bool matched = false;
    visit_fields(*item, [&](std::string_view field, auto& value) {
      const size_t bit = size_t{1} << index++;
      if (field != name || (seen & bit) != 0) return;
      uint64_t number = 0;
      using Field = std::remove_reference_t<decltype(value)>;
      if (read_integer(json, std::numeric_limits<Field>::max(), &number)) {
        value = static_cast<Field>(number);
        seen |= bit;
      }
      matched = true;
    });
    if (!matched) return json.fail("unknown or repeated field");
  }
  size_t fields = 0;
  visit_fields(*item, [&](std::string_view, auto&) { ++fields; });
  if (json.ok() && seen != (size_t{1} << fields) - 1) return json.fail("a field is missing");
  return json.ok();
}

template <class T>
bool read_objects(JsonReader& json, std::vector<T>* items) {
  if (!json.enter_array()) return false;
  while (json.next_element()) {
    if (!read_object(json, &items->emplace_back())) return false;
  }
  return json.ok();
}

inline void append_clock(std::string& out, const ClockAnchor& clock) {
  out.append(",\"clock\":{\"boot\":\"").append(clock.boot_id).append("\",\"boot_ns\":");
  append_decimal(out, clock.boot_ns);
  out.append(",\"store_ns\":");
  append_decimal(out, clock.store_ns);
  out.append(",\"unix_ns\":");
  append_decimal(out, clock.unix_ns);
  out += '}';
}

inline bool read_clock(JsonReader& json, ClockAnchor* clock) {
  constexpr uint64_t kAny = ~uint64_t{0};
  constexpr std::string_view kNames[] = {"boot", "boot_ns", "store_ns", "unix_ns"};
  uint64_t* const numbers[] = {nullptr, &clock->boot_ns, &clock->store_ns, &clock->unix_ns};
  if (!json.enter_object()) return false;
  std::string_view name;
  size_t at = 0;
  while (json.next_field(&name)) {  // all of them, in the order in which they are written
    if (at == std::size(kNames) || name != kNames[at])
      return json.fail("unknown or repeated field");
    if (numbers[at] != nullptr && !read_integer(json, kAny, numbers[at])) return false;
    if (numbers[at] == nullptr) {
      std::string_view text;
      std::string unescaped;
      if (!json.read_string(&text, &unescaped)) return false;
      clock->boot_id = text;
    }
    ++at;
  }
  return json.ok() && (at == std::size(kNames) || json.fail("a field is missing"));
}

inline bool read_field(JsonReader& json, std::string_view name, Manifest* out) {
  constexpr uint64_t kAny = ~uint64_t{0};
  if (name == "format") {
    uint64_t ignored = 0;
    return read_integer(json, kAny, &ignored);
  }
  if (name == "generation") return read_integer(json, kAny, &out->generation);
  if (name == "next_offset") return read_integer(json, kAny, &out->next_offset);
  if (name == "flushed_offset") return read_integer(json, kAny, &out->flushed_offset);
  if (name == "next_run") return read_integer(json, kAny, &out->next_run);
  if (name == "runs") return read_objects(json, &out->runs);
  if (name == "segments") return read_objects(json, &out->segments);
  if (name == "clock") return read_clock(json, &out->clock.emplace());
  std::string_view text;
  std::string unescaped;
  if (!json.read_string(&text, &unescaped)) return false;
  if (name == "database") out->database_id = text;
  return name == "database" || name == "crc" || json.fail("unknown field");
}

// The invariants that readers of a manifest rely on.
inline bool is_consistent(const Manifest& manifest) {
  if (manifest.database_id.size() != 32) return false;
  uint64_t end = manifest.flushed_offset;
  for (const RunMeta& run : manifest.runs) {
    if (run.end_offset > end || run.first_offset >= run.end_offset || run.records == 0 ||
        run.key_min > run.key_max || run.id >= manifest.next_run) {
      return false;
    }
    end = run.first_offset;
  }
  // What is in no run is in the log; offsets that were jumped over were never given out.
  const auto& segments = manifest.segments;
  if (!segments.empty() && segments.front().previous_end > manifest.flushed_offset) return false;
  uint64_t first_min = 0;
  uint64_t previous_end_min = 0;
  for (const SegmentRef& segment : segments) {
    if (segment.first_offset < first_min || segment.previous_end < previous_end_min ||
        segment.previous_end > segment.first_offset || segment.nonce == 0) {
      return false;
    }
    first_min = segment.first_offset + 1;
    previous_end_min = segment.first_offset;
  }
  return manifest.flushed_offset <= manifest.next_offset;
}

}  // namespace manifest_detail

[[nodiscard]] inline std::string encode_manifest(const Manifest& manifest) {
  std::string out = "{\"format\":";
  append_decimal(out, kManifestFormat);
  out.append(",\"database\":\"").append(manifest.database_id).append("\"");
  const auto number = [&](std::string_view name, uint64_t value) {
    out.append(",\"").append(name).append("\":");
    append_decimal(out, value);
  };
  number("generation", manifest.generation);
  number("next_offset", manifest.next_offset);
  number("flushed_offset", manifest.flushed_offset);
  number("next_run", manifest.next_run);
  manifest_detail::append_objects(out, "runs", manifest.runs);
  manifest_detail::append_objects(out, "segments", manifest.segments);
  if (manifest.clock) manifest_detail::append_clock(out, *manifest.clock);
  char crc[16];
  std::snprintf(crc, sizeof crc, "%08" PRIx32, crc32c(out));
  out.append(",\"crc\":\"").append(crc).append("\"}\n");
  return out;
}

// Any byte that is not as encode_manifest() wrote it is kCorruption; a newer format kUnsupported.
[[nodiscard]] inline Result<Manifest> decode_manifest(std::string_view text) {
  const auto damaged = [](const std::string& what) {
    return Status(Code::kCorruption, std::string(kManifestName) + ": " + what);
  };
  constexpr std::string_view kFormatPrefix = "{\"format\":";
  if (!text.starts_with(kFormatPrefix)) return damaged("not a KyroDB manifest");
  constexpr std::string_view kCrcField = ",\"crc\":\"";
  const size_t crc_at = text.rfind(kCrcField);
  if (crc_at == text.npos) return damaged("it has no checksum");
  char expected[16];
  std::snprintf(expected, sizeof expected, "%08" PRIx32, crc32c(text.substr(0, crc_at)));
  if (text.substr(crc_at + kCrcField.size()) != std::string(expected) + "\"}\n") {
    return damaged("its checksum does not match");
  }
  const std::string_view number = text.substr(kFormatPrefix.size());
  const auto format = parse_u64(number.substr(0, number.find(',')));
  if (!format) return damaged("not a KyroDB manifest");
  if (*format > kManifestFormat) {
    return Status(Code::kUnsupported, std::string(kManifestName) +
                                          ": written by a newer KyroDB (manifest format " +
                                          std::to_string(*format) + ")");
  }
  Manifest manifest;
  JsonReader json(text);
  std::string_view name;
  if (json.enter_object()) {
    while (json.next_field(&name)) {
      if (!manifest_detail::read_field(json, name, &manifest)) break;
    }
  }
  if (Status parsed = json.finish(); !parsed.ok()) return damaged(std::string(parsed.message()));
  if (!manifest_detail::is_consistent(manifest)) return damaged("it contradicts itself");
  return manifest;
}

}  // namespace kyro
