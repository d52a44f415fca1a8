// The C interface (kyro/embed/kyrodb.h, which holds the contracts) over the C++ one. Nothing of the
// engine is seen here.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/embed/kyrodb.h"
#include "kyro/kyro.h"

#ifndef KYRO_VERSION
#define KYRO_VERSION "dev"
#endif

using kyro::Code;
using kyro::Direction;
using kyro::Entry;
using kyro::Options;
using kyro::ScanRange;
using kyro::Statistics;
using kyro::Status;

struct kyrodb {
  kyro::Store store;
};

struct kyrodb_options {
  Options options;
};

struct kyrodb_batch {
  kyro::Batch batch;
};

struct kyrodb_reader {
  kyro::Reader reader;
};

struct kyrodb_iterator {
  kyro::Iterator records;
};

namespace {

static_assert(static_cast<int>(Code::kNotFound) == KYRODB_NOT_FOUND);
static_assert(static_cast<int>(Code::kInvalid) == KYRODB_INVALID);
static_assert(static_cast<int>(Code::kCorruption) == KYRODB_CORRUPTION);
static_assert(static_cast<int>(Code::kIoError) == KYRODB_IO_ERROR);
static_assert(static_cast<int>(Code::kNoSpace) == KYRODB_NO_SPACE);
static_assert(static_cast<int>(Code::kReadOnly) == KYRODB_READ_ONLY);
static_assert(static_cast<int>(Code::kPreconditionFailed) == KYRODB_PRECONDITION_FAILED);
static_assert(static_cast<int>(Code::kTooLarge) == KYRODB_TOO_LARGE);
static_assert(static_cast<int>(Code::kExists) == KYRODB_EXISTS);
static_assert(static_cast<int>(Code::kGone) == KYRODB_GONE);
static_assert(static_cast<int>(Code::kBusy) == KYRODB_BUSY);
static_assert(static_cast<int>(Code::kUnsupported) == KYRODB_UNSUPPORTED);
static_assert(static_cast<int>(Code::kLogUnreachable) == KYRODB_LOG_UNREACHABLE);
static_assert(static_cast<int>(Code::kWrongShard) == KYRODB_WRONG_SHARD);
static_assert(static_cast<int>(kyro::FsyncPolicy::kAlways) == KYRODB_FSYNC_ALWAYS);
static_assert(static_cast<int>(kyro::FsyncPolicy::kInterval) == KYRODB_FSYNC_INTERVAL);
static_assert(static_cast<int>(kyro::FsyncPolicy::kNever) == KYRODB_FSYNC_NEVER);

std::string& last_error() {
  thread_local std::string text;
  return text;
}

// The code of `status`; its words become the thread's last error.
int answer(const Status& status) {
  if (status.ok()) return KYRODB_OK;
  last_error() = status.to_string();
  return static_cast<int>(status.code());
}

int answer(const kyro::Result<uint64_t>& offset, uint64_t* to) {
  if (offset.ok() && to != nullptr) *to = *offset;
  return answer(offset.status());
}

std::string_view view_of(const void* value, size_t value_bytes) {
  return {static_cast<const char*>(value), value_bytes};
}

// Null where there is no record; an empty value lies somewhere too.
kyrodb_record record_of(const Entry& entry) {
  const char* value = entry.value.data() != nullptr ? entry.value.data() : "";
  return {entry.key, entry.offset, entry.expiry_secs, entry.is_found ? value : nullptr,
          entry.value.size()};
}

ScanRange range_of(uint64_t first, uint64_t last, int descending) {
  return {first, last, descending != 0 ? Direction::kDown : Direction::kUp};
}

Status too_large(size_t value_bytes, size_t room) {
  return Status(Code::kTooLarge, "the value has " + std::to_string(value_bytes) +
                                     " bytes, there is room for " + std::to_string(room));
}

// The first record of an iteration, its value copied into the buffer.
int copy_first(kyro::Iterator records, void* buffer, size_t room, kyrodb_record* record) {
  const Entry* entry = records.next();
  if (entry == nullptr) {
    const Status status = records.status();
    return answer(status.ok() ? Status(Code::kNotFound) : status);
  }
  *record = record_of(*entry);
  record->value = nullptr;
  if (entry->value.size() > room) return answer(too_large(entry->value.size(), room));
  if (!entry->value.empty()) std::memcpy(buffer, entry->value.data(), entry->value.size());
  record->value = buffer;
  return KYRODB_OK;
}

struct NumberOption {
  const char* name;
  uint64_t Options::*field;
};

constexpr NumberOption kNumberOptions[] = {
    {"fsync_interval_ms", &Options::fsync_interval_ms},
    {"delta_max_bytes", &Options::delta_max_bytes},
    {"snapshot_every_appends", &Options::snapshot_every_appends},
    {"auto_snapshot_secs", &Options::auto_snapshot_secs},
    {"wal_segment_bytes", &Options::wal_segment_bytes},
    {"wal_segments_max", &Options::wal_segments_max},
    {"wal_bytes_max", &Options::wal_bytes_max},
    {"compact_interval_secs", &Options::compact_interval_secs},
    {"compact_when_wal_bytes", &Options::compact_when_wal_bytes},
    {"scrub_interval_secs", &Options::scrub_interval_secs},
    {"max_value_bytes", &Options::max_value_bytes},
    {"max_batch_bytes", &Options::max_batch_bytes},
    {"reserve_bytes", &Options::reserve_bytes},
};

Status set_option(Options* options, std::string_view name, uint64_t value) {
  for (const NumberOption& option : kNumberOptions) {
    if (name == option.name) return options->*option.field = value, Status();
  }
  const bool is_fsync = name == "fsync";
  if (!is_fsync && name != "merge_fan_in") {
    return Status(Code::kInvalid, "no option is called " + std::string(name));
  }
  if (value > (is_fsync ? uint64_t{KYRODB_FSYNC_NEVER} : uint64_t{UINT32_MAX})) {
    return Status(Code::kInvalid, std::string(name) + ": no such value");
  }
  if (is_fsync) {
    options->fsync = static_cast<kyro::FsyncPolicy>(value);
  } else {
    options->merge_fan_in = static_cast<uint32_t>(value);
  }
  return Status();
}

struct StatisticField {
  const char* name;
  uint64_t Statistics::*field;
};

constexpr StatisticField kStatistics[] = {
    {"keys_estimate", &Statistics::keys_estimate},
    {"next_offset", &Statistics::next_offset},
    {"runs", &Statistics::runs},
    {"is_read_only", &Statistics::is_read_only},
    {"disk_free_bytes", &Statistics::disk_free_bytes},
    {"disk_size_bytes", &Statistics::disk_size_bytes},
    {"appends", &Statistics::appends},
    {"deletes", &Statistics::deletes},
    {"reads_from_delta", &Statistics::reads_from_delta},
    {"reads_from_runs", &Statistics::reads_from_runs},
    {"read_misses", &Statistics::read_misses},
    {"fsyncs", &Statistics::fsyncs},
    {"snapshots", &Statistics::snapshots},
    {"compactions", &Statistics::compactions},
    {"corruptions", &Statistics::corruptions},
    {"log_written_bytes", &Statistics::log_written_bytes},
    {"run_written_bytes", &Statistics::run_written_bytes},
    {"compaction_written_bytes", &Statistics::compaction_written_bytes},
};
static_assert(sizeof(Statistics) == std::size(kStatistics) * sizeof(uint64_t));

}  // namespace

// ---- the functions of kyrodb.h, in its order ----

const char* kyrodb_version(void) {
  return KYRO_VERSION;
}

const char* kyrodb_code_name(int code) {
  if (code < 0 || code > KYRODB_WRONG_SHARD) return "unknown";
  return kyro::code_name(static_cast<Code>(code));
}

const char* kyrodb_error(void) {
  return last_error().c_str();
}

kyrodb_options* kyrodb_options_create(void) {
  return new kyrodb_options();
}

void kyrodb_options_destroy(kyrodb_options* options) {
  delete options;
}

int kyrodb_options_set(kyrodb_options* options, const char* name, uint64_t value) {
  return answer(set_option(&options->options, name, value));
}

int kyrodb_open(const char* directory, const kyrodb_options* options, kyrodb** db) {
  Options chosen = options != nullptr ? options->options : Options();
  chosen.data_dir = directory;
  auto store = kyro::Store::open(std::move(chosen));
  if (store.ok()) *db = new kyrodb{std::move(*store)};
  return answer(store.status());
}

void kyrodb_close(kyrodb* db) {
  delete db;
}

int kyrodb_put(kyrodb* db, uint64_t key, const void* value, size_t value_bytes,
               uint64_t expiry_secs, uint64_t* offset) {
  return answer(db->store.put(key, view_of(value, value_bytes), expiry_secs), offset);
}

int kyrodb_put_if_absent(kyrodb* db, uint64_t key, const void* value, size_t value_bytes,
                         uint64_t expiry_secs, uint64_t* offset) {
  return answer(db->store.put_if_absent(key, view_of(value, value_bytes), expiry_secs), offset);
}

int kyrodb_put_if_version(kyrodb* db, uint64_t key, uint64_t version, const void* value,
                          size_t value_bytes, uint64_t expiry_secs, uint64_t* offset) {
  return answer(db->store.put_if_version(key, version, view_of(value, value_bytes), expiry_secs),
                offset);
}

int kyrodb_remove(kyrodb* db, uint64_t key, uint64_t* offset) {
  return answer(db->store.remove(key), offset);
}

int kyrodb_remove_if_version(kyrodb* db, uint64_t key, uint64_t version, uint64_t* offset) {
  return answer(db->store.remove_if_version(key, version), offset);
}

kyrodb_batch* kyrodb_batch_create(void) {
  return new kyrodb_batch();
}

void kyrodb_batch_destroy(kyrodb_batch* batch) {
  delete batch;
}

void kyrodb_batch_clear(kyrodb_batch* batch) {
  batch->batch.clear();
}

void kyrodb_batch_put(kyrodb_batch* batch, uint64_t key, const void* value, size_t value_bytes,
                      uint64_t expiry_secs) {
  batch->batch.put(key, view_of(value, value_bytes), expiry_secs);
}

void kyrodb_batch_remove(kyrodb_batch* batch, uint64_t key) {
  batch->batch.remove(key);
}

void kyrodb_batch_require_exists(kyrodb_batch* batch, uint64_t key) {
  batch->batch.require_exists(key);
}

void kyrodb_batch_require_absent(kyrodb_batch* batch, uint64_t key) {
  batch->batch.require_absent(key);
}

void kyrodb_batch_require_version(kyrodb_batch* batch, uint64_t key, uint64_t version) {
  batch->batch.require_version(key, version);
}

int kyrodb_write(kyrodb* db, const kyrodb_batch* batch, uint64_t* last_offset) {
  return answer(db->store.write(batch->batch), last_offset);
}

int kyrodb_get(kyrodb* db, uint64_t key, void* buffer, size_t room, kyrodb_record* record) {
  Entry entry;
  const Status status = db->store.get(key, static_cast<char*>(buffer), room, &entry);
  if (status.ok() || status.code() == Code::kTooLarge) {
    *record = {key, entry.offset, entry.expiry_secs, status.ok() ? buffer : nullptr,
               entry.value.size()};
  }
  return answer(status);
}

int kyrodb_floor(kyrodb* db, uint64_t key, void* buffer, size_t room, kyrodb_record* record) {
  return copy_first(db->store.iterate({0, key, Direction::kDown}), buffer, room, record);
}

int kyrodb_ceil(kyrodb* db, uint64_t key, void* buffer, size_t room, kyrodb_record* record) {
  return copy_first(db->store.iterate({key, UINT64_MAX, Direction::kUp}), buffer, room, record);
}

kyrodb_reader* kyrodb_reader_open(kyrodb* db) {
  return new kyrodb_reader{db->store.reader()};
}

void kyrodb_reader_close(kyrodb_reader* reader) {
  delete reader;
}

int kyrodb_reader_get(kyrodb_reader* reader, uint64_t key, kyrodb_record* record) {
  Entry entry;
  const Status status = reader->reader.get(key, &entry);
  if (status.ok()) *record = record_of(entry);
  return answer(status);
}

int kyrodb_reader_get_many(kyrodb_reader* reader, const uint64_t* keys, size_t count,
                           kyrodb_record* records) {
  constexpr size_t kAtOnce = 256;
  Entry entries[kAtOnce];
  for (size_t begin = 0; begin < count; begin += kAtOnce) {
    const size_t size = count - begin < kAtOnce ? count - begin : kAtOnce;
    const Status status = reader->reader.get({keys + begin, size}, {entries, size});
    if (!status.ok()) return answer(status);
    for (size_t i = 0; i < size; ++i) records[begin + i] = record_of(entries[i]);
  }
  return KYRODB_OK;
}

kyrodb_iterator* kyrodb_reader_iterate(kyrodb_reader* reader, uint64_t first, uint64_t last,
                                       int descending) {
  return new kyrodb_iterator{reader->reader.iterate(range_of(first, last, descending))};
}

kyrodb_iterator* kyrodb_iterate(kyrodb* db, uint64_t first, uint64_t last, int descending) {
  return new kyrodb_iterator{db->store.iterate(range_of(first, last, descending))};
}

int kyrodb_iterator_next(kyrodb_iterator* iterator, kyrodb_record* record) {
  if (const Entry* entry = iterator->records.next()) {
    *record = record_of(*entry);
    return KYRODB_OK;
  }
  const Status status = iterator->records.status();
  return answer(status.ok() ? Status(Code::kNotFound) : status);
}

void kyrodb_iterator_close(kyrodb_iterator* iterator) {
  delete iterator;
}

int kyrodb_snapshot(kyrodb* db) {
  return answer(db->store.snapshot());
}

int kyrodb_compact(kyrodb* db) {
  return answer(db->store.compact());
}

int kyrodb_backup(kyrodb* db, const char* directory) {
  return answer(db->store.backup(directory));
}

const char* kyrodb_id(const kyrodb* db) {
  return db->store.id().c_str();
}

const char* kyrodb_statistic_name(size_t i) {
  return i < std::size(kStatistics) ? kStatistics[i].name : nullptr;
}

int kyrodb_statistic(kyrodb* db, const char* name, uint64_t* value) {
  for (const StatisticField& statistic : kStatistics) {
    if (std::strcmp(name, statistic.name) != 0) continue;
    *value = db->store.statistics().*statistic.field;
    return KYRODB_OK;
  }
  return answer(Status(Code::kInvalid, "no statistic is called " + std::string(name)));
}
