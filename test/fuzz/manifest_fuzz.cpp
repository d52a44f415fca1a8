// Fuzz target: the text of a manifest. What is accepted comes back byte for byte when it is encoded
// again, or at least as an equal manifest. The checksum is made right first.
#include <cstddef>
#include <cstdint>

#include "kyro/storage/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kyro;
  std::string text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(decode_manifest(text));
  const size_t end = text.rfind(",\"crc\":\"");
  if (end == text.npos) return 0;
  text.resize(end);
  char crc[24];
  std::snprintf(crc, sizeof crc, ",\"crc\":\"%08x\"}\n", crc32c(text));
  const auto manifest = decode_manifest(text + crc);
  if (!manifest.ok()) return 0;
  const std::string once = encode_manifest(*manifest);
  const auto again = decode_manifest(once);
  KYRO_CHECK(again.ok() && encode_manifest(*again) == once);
  return 0;
}
