// What the engine benchmark asks of every engine: one interface, so that all run the same loops.
//
// Keys are u64, ordered as numbers. get(), multi_get() and scan() copy values out: nobody is
// measured on handing out pointers. A failure of an engine ends the benchmark with a message; there
// is nothing to compare then.
//
// Thread rule: put, get, multi_get, scan and sync from any thread; the rest by one thread while
// nothing else runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kyro::bench {

// Memory for writes that are not in tables yet, the same for every engine.
inline constexpr uint64_t kDefaultBufferBytes = uint64_t{64} << 20;

// When a put counts as done: synced; within 100 ms (somebody calls sync()); when the system likes.
enum class Durability : uint8_t { kAlways, kInterval, kNever };

[[noreturn]] inline void give_up(const char* engine, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", engine, what.c_str());
  std::exit(1);
}

inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Fills `value` with bytes that follow from the key; its size stays.
inline void fill_value(uint64_t key, std::string* value) {
  uint64_t word = 0;
  for (size_t i = 0; i < value->size(); ++i) {
    if (i % 8 == 0) word = mix(key + i);
    (*value)[i] = static_cast<char>(word >> (i % 8 * 8));
  }
}
// Whether a value is as long as it should be and starts as fill_value() starts it.
inline bool is_value_of(uint64_t key, std::string_view value, size_t bytes) {
  if (value.size() != bytes) return false;
  const uint64_t word = mix(key);
  for (size_t i = 0; i < bytes && i < 8; ++i) {
    if (value[i] != static_cast<char>(word >> (i * 8))) return false;
  }
  return true;
}

class Kv {
 public:
  Kv() = default;
  Kv(const Kv&) = delete;
  Kv& operator=(const Kv&) = delete;
  virtual ~Kv() = default;

  [[nodiscard]] virtual const char* name() const = 0;
  // Memory for blocks that were read, where the engine keeps them itself; before open().
  void set_cache_bytes(uint64_t bytes) { cache_bytes_ = bytes; }
  // Opens or creates; writes are buffered in memory up to `buffer_bytes` where there is a buffer.
  virtual void open(const std::string& dir, Durability durability, uint64_t buffer_bytes) = 0;
  virtual void close() = 0;

  virtual void put(uint64_t key, std::string_view value) = 0;
  // All or nothing; `keys` ascend when a store is loaded.
  virtual void put_batch(std::span<const uint64_t> keys, std::span<const std::string> values) = 0;
  virtual bool get(uint64_t key, std::string* value) = 0;
  // How many of the keys are there; the values of those that are not are left alone.
  virtual size_t multi_get(std::span<const uint64_t> keys, std::span<std::string> values) = 0;
  // Makes a store in a new directory out of ascending keys, each with the value that follows from
  // it, by the engine's own way for that, durable at the end; it is not open afterwards. false if
  // there is no such way.
  virtual bool bulk_load(const std::string&, std::span<const uint64_t>, size_t) { return false; }
  // Appends the values of up to `limit` keys from `first` on to `to`; how many there were.
  virtual size_t scan(uint64_t first, size_t limit, std::string* to) = 0;

  // Makes what was written durable; false if the engine has no such call.
  virtual bool sync() = 0;
  // Whether puts can be synced now and then: by sync(), or by a clock of its own.
  [[nodiscard]] virtual bool has_interval() const { return true; }
  // Turns buffered writes into tables, so that the next start has little to replay.
  virtual void flush() {}
  // Returns when background work has caught up.
  virtual void wait_for_background() {}
  // Rewrites everything into its best shape; false where there is no such thing.
  virtual bool compact() { return false; }
  // Bytes written to files since open, by the engine's own count (0: it does not count).
  [[nodiscard]] virtual uint64_t bytes_written() { return 0; }
  // What one put adds to files at least: with the engine's own header.
  [[nodiscard]] virtual uint64_t record_bytes(size_t value_bytes) const { return value_bytes + 8; }
  // Whether unflushed writes are replayed from a log at start-up.
  [[nodiscard]] virtual bool has_log() const { return true; }

 protected:
  uint64_t cache_bytes_ = uint64_t{16} << 30;  // everything
};

// Big-endian, so that engines that compare bytes order keys as numbers.
struct ByteKey {
  explicit ByteKey(uint64_t key) {
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(key >> (56 - 8 * i));
  }
  char bytes[8];
};

}  // namespace kyro::bench
