// Zipfian ranks: rank k of n, counted from 0, is drawn with probability proportional to
// (k + 1)^-theta.
//
// Exact for any n and theta > 0, with no table and no sum over n: rejection-inversion (W. Hörmann,
// G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
// 1996). About one and a tenth tries per rank.
//
// Thread rule: const; the random source is the caller's (`random.real()` uniform in (0, 1]).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace kyro::bench {

class Zipf {
 public:
  // REQUIRES: n > 0, theta > 0.
  Zipf(uint64_t n, double theta)
      : n_(n),
        theta_(theta),
        low_(integral(1.5) - 1),
        high_(integral(static_cast<double>(n) + 0.5)),
        sure_(2 - inverse(integral(2.5) - density(2))) {}

  template <class Random>
  [[nodiscard]] uint64_t rank(Random& random) const {
    for (;;) {
      const double u = high_ + random.real() * (low_ - high_);
      const double x = inverse(u);
      const double k = std::clamp(std::floor(x + 0.5), 1.0, static_cast<double>(n_));
      if (k - x <= sure_ || u >= integral(k + 0.5) - density(k)) {
        return static_cast<uint64_t>(k) - 1;
      }
    }
  }

  // Scatters ranks over [0, n), so that hot keys are not neighbours. Like YCSB's, not a
  // permutation: a few places get two ranks and some none.
  [[nodiscard]] static uint64_t scatter(uint64_t rank, uint64_t n) {
    uint64_t z = rank + 0x9E3779B97F4A7C15u;  // SplitMix64's mix
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<Wide>(z) * n) >> 64);
  }

 private:
  [[nodiscard]] double density(double x) const { return std::exp(-theta_ * std::log(x)); }
  // The integral of the density, and its inverse; both smooth where theta is 1.
  [[nodiscard]] double integral(double x) const {
    const double log_x = std::log(x);
    const double t = (1 - theta_) * log_x;
    return log_x * (std::abs(t) > 1e-8 ? std::expm1(t) / t : 1 + t / 2);
  }
  [[nodiscard]] double inverse(double y) const {
    const double t = std::max(-1.0, y * (1 - theta_));
    return std::exp(y * (std::abs(t) > 1e-8 ? std::log1p(t) / t : 1 - t / 2));
  }

  uint64_t n_;
  double theta_;
  double low_;
  double high_;
  double sure_;  // this close to its rank a point needs no further look
};

}  // namespace kyro::bench
