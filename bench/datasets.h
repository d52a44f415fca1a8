// Key sets for the index benchmark: seeded, sorted, without duplicates.
//
//   uden  dense: n consecutive integers
//   uspr  uniform and sparse: random over all 64 bits
//   logn  lognormal, mu 0, sigma 2, times 1e13
//   norm  normal, mean 2^63, sigma 2^59
//   fb    random ids below 2^50, and 21 outliers near 2^64
//   snow  snowflake ids: 41 bits of milliseconds, 10 of worker, 12 of sequence, which starts at 0
//   in
//         every millisecond; quiet traffic with bursts of 20 times the rate, 20 to 120 ms long
//   osm   geo cells: a place drawn by population, jittered by a normal distance that grows with the
//         square root of the population, mapped to a 64-bit Hilbert cell (32 bits per axis). Places
//         come from KYRO_BENCH_CITIES or ../shared/data/cities.ndjson.gz (GeoNames, CC BY 4.0);
//         without it from a synthetic cascade: 100000 places in nested clusters, Zipf populations.
//
// Generators oversample, sort, drop duplicates and trim, so that exactly n keys come out. Thread
// rule: pure functions of (n, seed), apart from reading the places. Memory: about 16 bytes per key.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace kyro::bench {

using Keys = std::vector<uint64_t>;

inline constexpr std::array<std::string_view, 7> kDistributions = {"uden", "uspr", "logn", "norm",
                                                                   "fb",   "snow", "osm"};

// SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixes per number.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  // Uniform below `bound` (> 0); the bias of the high-product method is below 2^-32 here.
  uint64_t below(uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }
  // Uniform in (0, 1].
  double real() { return static_cast<double>((next() >> 11) + 1) * 0x1p-53; }
  // Standard normal, by Box and Muller; the second value of a pair is kept for the next call.
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const double radius = std::sqrt(-2.0 * std::log(real()));
    const double angle = 6.283185307179586 * real();
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }

 private:
  uint64_t state_;
  double spare_ = 0;
  bool has_spare_ = false;
};

// Least significant digit first, 11 bits a pass; passes whose digit is the same everywhere are
// skipped.
inline void radix_sort(Keys& keys) {
  constexpr int kBits = 11;
  constexpr size_t kDigits = size_t{1} << kBits;
  Keys other(keys.size());
  for (int shift = 0; shift < 64; shift += kBits) {
    std::vector<size_t> starts(kDigits + 1, 0);
    for (const uint64_t key : keys) ++starts[((key >> shift) & (kDigits - 1)) + 1];
    if (std::find(starts.begin(), starts.end(), keys.size()) != starts.end()) continue;
    for (size_t d = 1; d <= kDigits; ++d) starts[d] += starts[d - 1];
    for (const uint64_t key : keys) other[starts[(key >> shift) & (kDigits - 1)]++] = key;
    keys.swap(other);
  }
}

// Sorts, drops duplicates, and drops evenly spaced keys until `n` are left.
inline void finish(Keys& keys, size_t n) {
  radix_sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  if (keys.size() <= n) return;
  const size_t excess = keys.size() - n;
  const size_t stride = keys.size() / excess;
  size_t out = 0;
  size_t dropped = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i % stride == stride / 2 && dropped < excess) {
      ++dropped;
      continue;
    }
    keys[out++] = keys[i];
  }
  keys.resize(n);
}

// Position of the point (x, y), 32 bits each, on the Hilbert curve: quadrant by quadrant, the
// remaining square rotated so that the curve goes on where the last one ended.
inline uint64_t hilbert_cell(uint32_t x, uint32_t y) {
  uint64_t cell = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const uint32_t right = (x >> bit) & 1u;
    const uint32_t up = (y >> bit) & 1u;
    cell = (cell << 2) | ((3u * right) ^ up);
    if (up == 0) {
      if (right == 1) {
        x = ~x;
        y = ~y;
      }
      std::swap(x, y);
    }
  }
  return cell;
}

struct Place {
  double longitude;
  double latitude;
  double population;
};

// The number after `name":` in a line of JSON whose quotes may be escaped; 0 if absent.
inline double json_number(const char* line, const char* name) {
  const char* at = std::strstr(line, name);
  if (at == nullptr) return 0;
  at = std::strchr(at, ':');
  return at == nullptr ? 0 : std::strtod(at + 1, nullptr);
}

inline std::vector<Place> read_places(const std::string& path) {
  std::vector<Place> places;
  if (FILE* test = std::fopen(path.c_str(), "rb"); test != nullptr) {
    std::fclose(test);
  } else {
    return places;
  }
  const std::string command = "gzip -dcf '" + path + "'";
  FILE* lines = popen(command.c_str(), "r");
  if (lines == nullptr) return places;
  std::array<char, 4096> line{};
  while (std::fgets(line.data(), static_cast<int>(line.size()), lines) != nullptr) {
    const Place place{json_number(line.data(), "lon\\\""), json_number(line.data(), "lat\\\""),
                      json_number(line.data(), "population\\\"")};
    if (place.longitude != 0 || place.latitude != 0) places.push_back(place);
  }
  pclose(lines);
  return places;
}

inline std::vector<Place> synthetic_places(Random& random) {
  std::vector<Place> places;
  std::array<Place, 5> nest{};
  for (size_t i = 0; i < 100000; ++i) {
    // Every level moves on with a tenth of the frequency of the level inside it.
    size_t level = nest.size() - 1;
    while (level > 0 && random.below(10) == 0) --level;
    for (; level < nest.size(); ++level) {
      const Place outer = level == 0 ? Place{0, 20, 0} : nest[level - 1];
      const double spread = 60.0 / std::pow(4.0, static_cast<double>(level));
      nest[level] = {outer.longitude + spread * random.normal(),
                     outer.latitude + spread / 2 * random.normal(), 0};
    }
    places.push_back({nest.back().longitude, nest.back().latitude,
                      5e6 / (1.0 + static_cast<double>(random.below(100000)))});
  }
  return places;
}

inline std::vector<Place> places_for_osm(Random& random) {
  const char* given = std::getenv("KYRO_BENCH_CITIES");
  std::vector<Place> places =
      read_places(given != nullptr ? given : "../shared/data/cities.ndjson.gz");
  if (places.empty()) {
    std::fprintf(stderr, "osm: no file of places (KYRO_BENCH_CITIES): a synthetic cascade\n");
    places = synthetic_places(random);
  }
  return places;
}

inline Keys osm_keys(size_t count, Random& random) {
  const std::vector<Place> places = places_for_osm(random);
  std::vector<double> cumulative;
  double total = 0;
  for (const Place& place : places) cumulative.push_back(total += place.population + 500);
  Keys keys(count);
  for (uint64_t& key : keys) {
    const auto at = std::lower_bound(cumulative.begin(), cumulative.end(), total * random.real());
    const Place& place = places[static_cast<size_t>(at - cumulative.begin()) % places.size()];
    const double sigma_degrees = 0.005 + std::sqrt(place.population) * 0.00005;
    const double longitude = place.longitude + sigma_degrees * random.normal();
    const double latitude = place.latitude + sigma_degrees * 0.8 * random.normal();
    const double x = std::clamp((longitude + 180.0) / 360.0, 0.0, 0.9999999999);
    const double y = std::clamp((latitude + 90.0) / 180.0, 0.0, 0.9999999999);
    key = hilbert_cell(static_cast<uint32_t>(x * 0x1p32), static_cast<uint32_t>(y * 0x1p32));
  }
  return keys;
}

// Arrivals are a Poisson process: 2 ids per millisecond, in a burst 40.
inline Keys snow_keys(size_t count, Random& random) {
  Keys keys(count);
  double now_ms = 41e9;
  double burst_start_ms = now_ms;
  double burst_end_ms = now_ms;
  std::vector<uint64_t> taken;  // workers that gave an id in this millisecond
  uint64_t last_ms = 0;
  for (uint64_t& key : keys) {
    if (now_ms > burst_end_ms) {
      burst_start_ms = now_ms - 5000.0 * std::log(random.real());
      burst_end_ms = burst_start_ms + 20.0 + 100.0 * random.real();
    }
    now_ms -= std::log(random.real()) / (now_ms >= burst_start_ms ? 40.0 : 2.0);
    const auto ms = static_cast<uint64_t>(now_ms);
    const uint64_t worker = random.below(1024);
    if (ms != last_ms) taken.clear();
    last_ms = ms;
    const auto sequence = static_cast<uint64_t>(std::count(taken.begin(), taken.end(), worker));
    taken.push_back(worker);
    key = (ms << 22) | (worker << 12) | std::min<uint64_t>(sequence, 4095);
  }
  return keys;
}

inline uint64_t from_real(double value) {
  return value < 0 ? 0 : value >= 0x1p64 ? ~uint64_t{0} : static_cast<uint64_t>(value);
}

// Exactly `n` keys of the named distribution, ascending; empty for an unknown name.
inline Keys make_keys(std::string_view distribution, size_t n, uint64_t seed) {
  Random random(seed);
  const size_t count = n + n / 500 + 1000;
  Keys keys;
  if (distribution == "uden") {
    keys.resize(n);
    for (size_t i = 0; i < n; ++i) keys[i] = 1'000'000'007ull + i;
    return keys;
  }
  if (distribution == "snow") {
    keys = snow_keys(count, random);
  } else if (distribution == "osm") {
    keys = osm_keys(count, random);
  } else {
    keys.resize(count);
    for (uint64_t& key : keys) {
      if (distribution == "uspr")
        key = random.next();
      else if (distribution == "logn")
        key = from_real(std::exp(2.0 * random.normal()) * 1e13);
      else if (distribution == "norm")
        key = from_real(0x1p63 + 0x1p59 * random.normal());
      else if (distribution == "fb")
        key = random.next() >> 14;
      else
        return {};
    }
  }
  finish(keys, distribution == "fb" ? n - std::min<size_t>(n, 21) : n);
  if (distribution == "fb") {
    for (uint64_t i = std::min<size_t>(n, 21); i-- > 0;)
      keys.push_back(~uint64_t{0} - i * i * 7919);
  }
  return keys;
}

}  // namespace kyro::bench
