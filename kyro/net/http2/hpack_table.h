// The two tables of HPACK (RFC 7541 section 2.3): the static one, and the dynamic one that each
// direction of a connection has. Indices count through both: 1 to 61 static, 62 the newest dynamic
// entry.
//
// The dynamic table keeps its text in one string, appended at the end; what eviction frees in front
// is taken out when it is half of the string. So adding costs a copy of the entry, and a table that
// was never used costs nothing.
//
// Invariant: size() <= size_max() <= 4096, sizes as section 4.1 counts them (32 more for an entry).
// Thread rule: one thread. Ownership: fields are views into the table, valid until the next add()
// or set_size_max().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kyro {

struct HpackField {
  std::string_view name;
  std::string_view value;
};

// RFC 7541 appendix A; index 1 is the first.
inline constexpr std::array<HpackField, 61> kHpackStatic = {{
    {":authority", ""},
    {":method", "GET"},
    {":method", "POST"},
    {":path", "/"},
    {":path", "/index.html"},
    {":scheme", "http"},
    {":scheme", "https"},
    {":status", "200"},
    {":status", "204"},
    {":status", "206"},
    {":status", "304"},
    {":status", "400"},
    {":status", "404"},
    {":status", "500"},
    {"accept-charset", ""},
    {"accept-encoding", "gzip, deflate"},
    {"accept-language", ""},
    {"accept-ranges", ""},
    {"accept", ""},
    {"access-control-allow-origin", ""},
    {"age", ""},
    {"allow", ""},
    {"authorization", ""},
    {"cache-control", ""},
    {"content-disposition", ""},
    {"content-encoding", ""},
    {"content-language", ""},
    {"content-length", ""},
    {"content-location", ""},
    {"content-range", ""},
    {"content-type", ""},
    {"cookie", ""},
    {"date", ""},
    {"etag", ""},
    {"expect", ""},
    {"expires", ""},
    {"from", ""},
    {"host", ""},
    {"if-match", ""},
    {"if-modified-since", ""},
    {"if-none-match", ""},
    {"if-range", ""},
    {"if-unmodified-since", ""},
    {"last-modified", ""},
    {"link", ""},
    {"location", ""},
    {"max-forwards", ""},
    {"proxy-authenticate", ""},
    {"proxy-authorization", ""},
    {"range", ""},
    {"referer", ""},
    {"refresh", ""},
    {"retry-after", ""},
    {"server", ""},
    {"set-cookie", ""},
    {"strict-transport-security", ""},
    {"transfer-encoding", ""},
    {"user-agent", ""},
    {"vary", ""},
    {"via", ""},
    {"www-authenticate", ""},
}};

// The static table by the lengths of its names, so that a name is compared with few.
class HpackStaticNames {
 public:
  static constexpr size_t kLongest = 27;

  constexpr HpackStaticNames() {
    size_t at = 0;
    for (size_t length = 0; length <= kLongest; ++length) {
      begins_[length] = static_cast<uint8_t>(at);
      for (size_t i = 0; i < kHpackStatic.size(); ++i) {
        if (kHpackStatic[i].name.size() == length) indices_[at++] = static_cast<uint8_t>(i + 1);
      }
    }
    begins_[kLongest + 1] = static_cast<uint8_t>(at);
  }
  // The indices of the fields whose names are so long, rising.
  [[nodiscard]] constexpr std::span<const uint8_t> of_length(size_t length) const {
    if (length > kLongest) return {};
    return {indices_.data() + begins_[length], indices_.data() + begins_[length + 1]};
  }
  [[nodiscard]] constexpr size_t count() const { return begins_[kLongest + 1]; }

 private:
  std::array<uint8_t, kHpackStatic.size()> indices_{};
  std::array<uint8_t, kLongest + 2> begins_{};
};

inline constexpr HpackStaticNames kHpackStaticNames;
static_assert(kHpackStaticNames.count() == kHpackStatic.size());

class HpackTable {
 public:
  static constexpr uint32_t kEntryOverhead = 32;
  static constexpr uint32_t kSizeMax = 4096;

  explicit HpackTable(uint32_t size_max = kSizeMax) : size_max_(size_max) {}

  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint32_t size_max() const { return size_max_; }
  // Entries of the dynamic table.
  [[nodiscard]] size_t count() const { return entries_.size() - oldest_; }

  // Evicts what no longer fits. REQUIRES size_max <= kSizeMax.
  void set_size_max(uint32_t size_max) {
    size_max_ = size_max;
    evict(0);
  }

  // The field at `index` of both tables together; false where there is none.
  [[nodiscard]] bool get(uint64_t index, HpackField* field) const {
    if (index == 0) return false;
    if (index <= kHpackStatic.size()) {
      *field = kHpackStatic[index - 1];
      return true;
    }
    index -= kHpackStatic.size() + 1;
    if (index >= count()) return false;
    *field = field_of(entries_[entries_.size() - 1 - index]);
    return true;
  }

  // The index of the newest entry that is the whole field, or 0; then *name_index is that of one of
  // this name, if there is one.
  [[nodiscard]] uint64_t find(std::string_view name, std::string_view value,
                              uint64_t* name_index) const {
    uint64_t index = kHpackStatic.size();
    for (size_t at = entries_.size(); at-- > oldest_;) {
      const Entry& entry = entries_[at];
      ++index;
      if (entry.name_bytes != name.size()) continue;
      const HpackField field = field_of(entry);
      if (field.name != name) continue;
      *name_index = index;
      if (field.value == value) return index;
    }
    return 0;
  }

  // Adds a field as the newest; one that is larger than the table empties it (section 4.4). `name`
  // may be a view into this table.
  void add(std::string_view name, std::string_view value) {
    const uint64_t entry_bytes = uint64_t{name.size()} + value.size() + kEntryOverhead;
    if (entry_bytes > size_max_) {
      evict(size_max_);
      return;
    }
    const auto at = static_cast<uint32_t>(text_.size());
    text_.append(name).append(value);  // before the eviction, which `name` may not survive
    entries_.push_back(
        {at, static_cast<uint16_t>(name.size()), static_cast<uint16_t>(value.size())});
    size_ += static_cast<uint32_t>(entry_bytes);
    evict(0);
  }

 private:
  struct Entry {
    uint32_t at;
    uint16_t name_bytes;
    uint16_t value_bytes;
    [[nodiscard]] uint32_t size() const {
      return uint32_t{name_bytes} + value_bytes + kEntryOverhead;
    }
  };

  [[nodiscard]] HpackField field_of(const Entry& entry) const {
    const std::string_view text = text_;
    return {text.substr(entry.at, entry.name_bytes),
            text.substr(entry.at + entry.name_bytes, entry.value_bytes)};
  }

  // Drops the oldest entries until `room` more bytes would fit.
  void evict(uint32_t room) {
    while (oldest_ < entries_.size() && size_ + room > size_max_)
      size_ -= entries_[oldest_++].size();
    if (oldest_ == entries_.size()) {
      entries_.clear();
      text_.clear();
      oldest_ = 0;
      return;
    }
    const uint32_t freed = entries_[oldest_].at;
    if (freed * 2 < text_.size()) return;
    text_.erase(0, freed);
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(oldest_));
    oldest_ = 0;
    for (Entry& entry : entries_) entry.at -= freed;
  }

  uint32_t size_max_;
  uint32_t size_ = 0;
  size_t oldest_ = 0;  // entries before it are evicted
  std::vector<Entry> entries_;
  std::string text_;
};

}  // namespace kyro
