// A new store out of many records at once: they go straight into a sorted run, past log and delta.
//
//   auto loader = kyro::BulkLoader::begin("data");          // a new or empty directory
//   loader->put(key, value);                                // in any order; the last one wins
//   loader->finish();                                       // now it is a store, to be opened
//
// What was not finished is no store, and the next load of that directory removes it.
//
// Thread rule: one thread at a time. Ownership: the directory, until this is destroyed; what is in
// it is removed then unless finish() was ok.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/limits.h"
#include "kyro/base/result.h"
#include "kyro/embed/hidden.h"

namespace kyro {

class Loader;
KYRO_API void destroy(Loader* loader) noexcept;

class KYRO_API BulkLoader {
 public:
  // `memory_bytes` is for sorting, 64 KiB at least; more is kept in temporary files of the
  // directory. Errors: kExists (not empty), kBusy (in use), kInvalid, kNoSpace, kIoError.
  [[nodiscard]] static Result<BulkLoader> begin(const std::string& directory,
                                                uint64_t memory_bytes = 256 * kMiB);

  // `expiry_secs` is Unix time, 0 for never. Errors: kTooLarge, kInvalid, kNoSpace, kIoError; after
  // the last two it can only be given up.
  Status put(uint64_t key, std::string_view value, uint64_t expiry_secs = 0);
  // Takes back what was put under this key before.
  Status remove(uint64_t key);

  // Makes the store, durably; returns how many keys are in it.
  Result<uint64_t> finish();

 private:
  explicit BulkLoader(Loader* loader) : loader_(loader) {}

  Hidden<Loader> loader_;
};

}  // namespace kyro
