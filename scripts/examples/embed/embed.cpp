// The store inside a program of one's own: everything an embedding program calls, once.
//
//   g++ -std=c++20 embed.cpp $(pkg-config --cflags --libs kyrodb) -o embed && ./embed DIRECTORY
#include <kyro/kyro.h>

#include <array>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

// What may fail says so: a Status, or a Result that is one where there is no value.
int fail(const kyro::Status& status) {
  std::fprintf(stderr, "embed: %s\n", status.to_string().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: embed DIRECTORY\n");
    return 2;
  }
  auto opened = kyro::Store::open({.data_dir = argv[1]});
  if (!opened.ok()) return fail(opened.status());
  kyro::Store& db = *opened;

  // On the disk when it returns. The offset numbers the write, and is the version of the key.
  const auto offset = db.put(123, "hello");
  if (!offset.ok()) return fail(offset.status());
  std::printf("put 123 at offset %llu\n", static_cast<unsigned long long>(*offset));

  std::string value;
  if (const kyro::Status status = db.get(123, &value); !status.ok()) return fail(status);
  std::printf("get 123: %s\n", value.c_str());

  // All of a batch or none of it.
  kyro::Batch batch;
  batch.put(1, "one").put(2, "two").put(3, "three").remove(123);
  if (const auto last = db.write(batch); !last.ok()) return fail(last.status());

  // "Not there" is an answer, not a failure.
  const kyro::Status missing = db.get(123, &value);
  std::printf("get 123 again: %s\n", missing.code() == kyro::Code::kNotFound ? "gone" : "?");
  if (const auto removed = db.remove(2); !removed.ok()) return fail(removed.status());

  // Many keys at once, of one moment: their cache misses overlap.
  const std::array<uint64_t, 3> keys = {1, 2, 3};
  std::array<kyro::Entry, 3> entries;
  const kyro::Reader reader = db.reader();
  if (const kyro::Status got = reader.get(keys, entries); !got.ok()) return fail(got);
  for (const kyro::Entry& entry : entries) {
    std::printf("reader %llu: %s\n", static_cast<unsigned long long>(entry.key),
                entry.is_found ? std::string(entry.value).c_str() : "gone");
  }

  // Keys from 0 to 10, ascending, as they were at one moment.
  const kyro::Status scanned =
      db.scan(0, 10, [](uint64_t key, std::string_view text, uint64_t version) {
        std::printf("scan %llu: %.*s (offset %llu)\n", static_cast<unsigned long long>(key),
                    static_cast<int>(text.size()), text.data(),
                    static_cast<unsigned long long>(version));
        return true;
      });
  if (!scanned.ok()) return fail(scanned);
  return 0;
}
