// What a connection may ask of us that is no work (RFC 9113 section 10.5): settings, pings, empty
// frames, windows that grow by one, streams that are opened and reset.
//
// Each of these has a price, and is paid from a credit that useful work and time bring in. Who is
// out of credit is told ENHANCE_YOUR_CALM. A client at work never is: a request earns more than
// the frames around it cost.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace kyro {

class Http2Calm {
 public:
  static constexpr int64_t kCreditMax = 2000;
  static constexpr int64_t kCreditPerSecond = 200;

  // Prices.
  static constexpr int64_t kFrame = 1;  // that asks for nothing: PING, PRIORITY, empty DATA …
  static constexpr int64_t kSettingsFrame = 4;
  static constexpr int64_t kSmallWindow = 1;  // a WINDOW_UPDATE of less than kSmallWindowBytes
  static constexpr uint32_t kSmallWindowBytes = 1024;
  static constexpr int64_t kReset = 20;  // a stream that was not let finish
  // Earnings.
  static constexpr int64_t kAnswer = 8;
  static constexpr uint64_t kBytesPerCredit = 1024;  // of DATA, in either direction

  // False if that is more than is left.
  [[nodiscard]] bool spend(int64_t price) { return (credit_ -= price) >= 0; }
  void earn(int64_t credit) { credit_ = std::min(credit_ + credit, kCreditMax); }
  void earn_bytes(uint64_t bytes) {
    bytes_ += bytes;
    earn(static_cast<int64_t>(bytes_ / kBytesPerCredit));
    bytes_ %= kBytesPerCredit;
  }
  // REQUIRES: now_ms does not go back.
  void on_time(uint64_t now_ms) {
    if (now_ms - earned_at_ms_ < 1000) return;
    const uint64_t seconds = std::min<uint64_t>((now_ms - earned_at_ms_) / 1000, 60);
    earn(static_cast<int64_t>(seconds) * kCreditPerSecond);
    earned_at_ms_ = now_ms;
  }

 private:
  int64_t credit_ = kCreditMax;
  uint64_t bytes_ = 0;  // not yet turned into credit
  uint64_t earned_at_ms_ = 0;
};

}  // namespace kyro
