// Fuzz target: the CSV reader. The result must not depend on how the bytes were split, and what was
// read, written again, must be read as the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/client/csv.h"

namespace {

using kyro::CsvReader;

// All fields and outcomes in one text; *clean receives the records written anew.
std::string digest(std::string_view text, size_t piece, std::string* clean) {
  CsvReader reader;
  std::string out;
  bool is_at_end = false;
  while (!is_at_end) {
    std::string_view bytes = text.substr(0, piece);
    is_at_end = bytes.empty();
    text.remove_prefix(bytes.size());
    for (;;) {
      const auto outcome = is_at_end ? reader.finish() : reader.next(bytes);
      if (outcome == CsvReader::Outcome::kError) return out + "error " + reader.error();
      if (outcome == CsvReader::Outcome::kNeedMore) break;
      for (size_t i = 0; i < reader.field_count(); ++i) {
        out.append(std::to_string(reader.field(i).size())).append(":").append(reader.field(i));
        if (i > 0) *clean += ',';
        // A record of one empty field would be an empty line.
        if (reader.field_count() == 1 && reader.field(0).empty()) *clean += "\"\"";
        kyro::append_csv_field(*clean, reader.field(i));
      }
      out += ';';
      *clean += "\r\n";
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string clean;
  std::string ignored;
  const std::string whole = digest(text, SIZE_MAX, &clean);
  KYRO_CHECK(whole == digest(text, 1, &ignored));
  KYRO_CHECK(whole == digest(text, 3, &ignored));
  if (whole.find("error ") == whole.npos) KYRO_CHECK(digest(clean, SIZE_MAX, &ignored) == whole);
  return 0;
}
