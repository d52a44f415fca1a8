// Fuzz target: a tar archive. What is accepted lies inside the archive and can be read whole. The
// sums of the heads are made right first, or nothing would get past them.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "kyro/storage/fs/tar_directory.h"

namespace {

using namespace kyro;

class BytesMapping final : public Mapping {
 public:
  explicit BytesMapping(const std::string& bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes() const override { return std::as_bytes(std::span(bytes_)); }
  void advise(Access) override {}
  void fetch(uint64_t, uint64_t) override {}

 private:
  const std::string& bytes_;
};

class BytesFile final : public File {
 public:
  explicit BytesFile(const std::string& bytes) : bytes_(bytes) {}
  Result<size_t> read_at(uint64_t position, void* to, size_t n) override {
    KYRO_CHECK(position <= bytes_.size());
    return bytes_.copy(static_cast<char*>(to), n, position);
  }
  Result<uint64_t> size() override { return uint64_t{bytes_.size()}; }
  Result<std::unique_ptr<Mapping>> map() override {
    return std::unique_ptr<Mapping>(std::make_unique<BytesMapping>(bytes_));
  }
  Status write_at(uint64_t, std::string_view) override { return Status(); }
  Status sync() override { return Status(); }
  Status truncate(uint64_t) override { return Status(); }
  Status allocate(uint64_t) override { return Status(); }
  void drop_cache() override {}

 private:
  const std::string& bytes_;
};

void read_all(const std::string& bytes) {
  const auto dir = TarDirectory::open(std::make_unique<BytesFile>(bytes), "a.tar");
  if (!dir.ok()) return;
  const auto names = (*dir)->list();
  KYRO_CHECK(names.ok());
  for (const std::string& name : *names) {
    KYRO_CHECK(name.find('/') == name.npos && !name.empty() && name[0] != '.');
    const auto text = read_small_file(**dir, name, bytes.size());
    KYRO_CHECK(text.ok());
    const auto mapping = (*(*dir)->open(name, OpenMode::kRead))->map();
    KYRO_CHECK((*mapping)->bytes().size() == text->size());
    KYRO_CHECK(text->empty() ||
               std::memcmp((*mapping)->bytes().data(), text->data(), text->size()) == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  read_all(bytes);
  for (size_t at = 0; at + kTarBlockBytes <= bytes.size(); at += kTarBlockBytes) {
    const std::string_view head = std::string_view(bytes).substr(at, kTarBlockBytes);
    if (head.substr(257, 5) != "ustar") continue;
    char sum[16];
    std::snprintf(sum, sizeof sum, "%06o", static_cast<unsigned>(tar_detail::sum_of(head)));
    bytes.replace(at + tar_detail::kSumAt, 7, sum, 7);
  }
  bytes.append(kTarEndBytes, '\0');
  read_all(bytes);
  return 0;
}
