#include "kyro/base/epoch.h"

#include <atomic>
#include <barrier>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "test/support/test_util.h"

namespace kyro {
namespace {

// An object that knows whether it is alive, and counts how many are.
struct Tracked {
  explicit Tracked(std::atomic<int>& living) : living_(living) { ++living_; }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;
  ~Tracked() {
    alive_ = 0xDEAD;
    value = ~uint64_t{0};
    --living_;
  }
  [[nodiscard]] bool alive() const { return alive_ == 0xA11FE; }
  uint64_t value = 0;

 private:
  uint64_t alive_ = 0xA11FE;
  std::atomic<int>& living_;
};

// Until nothing is left of what was retired before.
void drain() {
  while (epoch_waiting() > 0) {
    epoch_collect();
    std::this_thread::yield();
  }
}

TEST_CASE("an object retired without any pin is deleted at once") {
  drain();
  std::atomic<int> living{0};
  epoch_retire(std::make_unique<Tracked>(living));
  CHECK(living == 0);
  CHECK(epoch_waiting() == 0);
}

TEST_CASE("an object retired under a pin lives until the pin ends") {
  drain();
  std::atomic<int> living{0};
  {
    const EpochPin pin;
    epoch_retire(std::make_unique<Tracked>(living));
    CHECK(epoch_collect() == 0);
    CHECK(living == 1);
    CHECK(epoch_waiting() == 1);
  }
  CHECK(living == 1);
  CHECK(epoch_collect() == 1);
  CHECK(living == 0);
}

TEST_CASE("pins nest and only the end of the outermost one lets go") {
  drain();
  std::atomic<int> living{0};
  CHECK_FALSE(epoch_is_pinned());
  {
    const EpochPin outer;
    {
      const EpochPin inner;
      epoch_retire(std::make_unique<Tracked>(living));
    }
    CHECK(epoch_is_pinned());
    epoch_collect();
    CHECK(living == 1);
    {
      const EpochPin again;
      epoch_collect();
      CHECK(living == 1);
    }
  }
  CHECK_FALSE(epoch_is_pinned());
  epoch_collect();
  CHECK(living == 0);
}

TEST_CASE("a pin taken after the retirement does not keep the object") {
  drain();
  std::atomic<int> living{0};
  std::barrier step(2);
  std::thread early([&] {
    {
      const EpochPin pin;
      step.arrive_and_wait();  // 1: pinned
      step.arrive_and_wait();  // 2: retired
    }
    step.arrive_and_wait();  // 3: unpinned
  });
  step.arrive_and_wait();
  epoch_retire(std::make_unique<Tracked>(living));
  const EpochPin late;
  epoch_collect();
  CHECK(living == 1);
  step.arrive_and_wait();
  step.arrive_and_wait();
  epoch_collect();
  CHECK(living == 0);
  early.join();
}

TEST_CASE("a pin keeps what is retired after it and frees what was retired before it") {
  drain();
  std::atomic<int> before{0};
  std::atomic<int> after{0};
  std::barrier step(2);
  std::thread reader([&] {
    step.arrive_and_wait();  // 1: the main thread has pinned and retired
    const EpochPin pin;
    step.arrive_and_wait();  // 2: pinned here
    step.arrive_and_wait();  // 3: checked
  });
  {
    const EpochPin pin;
    epoch_retire(std::make_unique<Tracked>(before));
    step.arrive_and_wait();
    step.arrive_and_wait();
  }
  epoch_retire(std::make_unique<Tracked>(after));
  CHECK(before == 0);
  CHECK(after == 1);
  step.arrive_and_wait();
  reader.join();
  epoch_collect();
  CHECK(after == 0);
}

TEST_CASE("a deleter may pin, retire and collect") {
  drain();
  std::atomic<int> living{0};
  struct Parent {
    explicit Parent(std::atomic<int>& count) : child(std::make_unique<Tracked>(count)) {}
    ~Parent() {
      const EpochPin pin;
      epoch_retire(std::move(child));
      epoch_collect();
    }
    std::unique_ptr<Tracked> child;
  };
  epoch_retire(std::make_unique<const Parent>(living));
  drain();
  CHECK(living == 0);
  CHECK(epoch_waiting() == 0);
}

TEST_CASE("a null pointer is not retired") {
  drain();
  epoch_retire(std::unique_ptr<Tracked>());
  CHECK(epoch_waiting() == 0);
}

TEST_CASE("hundreds of threads can be pinned at the same time and each one counts") {
  drain();
  std::atomic<int> living{0};
  std::vector<std::thread> threads;
  std::atomic<const Tracked*> shared{new Tracked(living)};
  std::barrier step(201);
  std::atomic<int> seen_dead{0};
  for (int i = 0; i < 200; ++i) {
    threads.emplace_back([&] {
      const EpochPin pin;
      const Tracked* object = shared.load(std::memory_order_acquire);
      step.arrive_and_wait();  // 1: all pinned
      step.arrive_and_wait();  // 2: retired
      if (!object->alive()) ++seen_dead;
    });
  }
  step.arrive_and_wait();
  epoch_retire(std::unique_ptr<const Tracked>(shared.exchange(nullptr)));
  CHECK(living == 1);
  step.arrive_and_wait();
  for (std::thread& thread : threads) thread.join();
  CHECK(seen_dead == 0);
  epoch_collect();
  CHECK(living == 0);
}

TEST_CASE("a thread that ends leaves no pin and its record serves the next thread") {
  drain();
  const auto records = [] {
    size_t count = 0;
    const auto* record = epoch_detail::participants.load();
    for (; record != nullptr; record = record->next) ++count;
    return count;
  };
  std::thread([] { const EpochPin pin; }).join();
  const size_t before = records();
  for (int i = 0; i < 100; ++i) std::thread([] { const EpochPin pin; }).join();
  CHECK(records() == before);
}

// Readers chase a pointer that writers replace; every object must be alive whenever it is read.
// Under the sanitizers a premature deletion is also a use after free, or a race.
TEST_CASE("readers never see a deleted object while writers replace it") {
  drain();
  constexpr int kReaders = 4;
  constexpr int kWriters = 2;
  constexpr uint64_t kReplacements = 8000;
  std::atomic<int> living{0};
  std::atomic<Tracked*> slots[4];
  for (auto& slot : slots) slot = new Tracked(living);
  std::atomic<int> writers_left{kWriters};
  std::atomic<uint64_t> bad{0};
  std::atomic<int> peak{0};
  std::vector<std::thread> threads;
  for (int r = 0; r < kReaders; ++r) {
    threads.emplace_back([&, r] {
      std::mt19937_64 random(static_cast<uint64_t>(r));
      while (writers_left.load() > 0) {
        const EpochPin pin;
        for (int i = 0; i < 8; ++i) {
          const Tracked* object = slots[random() % 4].load(std::memory_order_acquire);
          const uint64_t first = object->value;
          if (random() % 16 == 0) std::this_thread::yield();
          if (!object->alive() || object->value != first) ++bad;
        }
      }
    });
  }
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      std::mt19937_64 random(100 + static_cast<uint64_t>(w));
      for (uint64_t i = 0; i < kReplacements; ++i) {
        auto fresh = std::make_unique<Tracked>(living);
        fresh->value = i;
        Tracked* old = slots[random() % 4].exchange(fresh.release(), std::memory_order_acq_rel);
        epoch_retire(std::unique_ptr<Tracked>(old));
        if (living > peak) peak = living.load();
      }
      --writers_left;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(bad == 0);
  for (auto& slot : slots) delete slot.load();
  drain();
  CHECK(living == 0);
  CHECK(epoch_waiting() == 0);
  // Garbage was freed on the way, not only at the end.
  CHECK(peak < static_cast<int>(kReplacements * kWriters));
}

}  // namespace
}  // namespace kyro
