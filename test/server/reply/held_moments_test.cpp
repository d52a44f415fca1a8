#include "kyro/server/reply/held_moments.h"

#include <catch2/catch.hpp>
#include <list>
#include <memory>

#include "test/support/engine_harness.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using Hold = HeldMoments::Hold;

View view_of_delta(uint64_t first_offset) {
  View view;
  view.active = std::make_shared<Delta>(first_offset);
  return view;
}

TEST_CASE("moments of the same deltas are held by as many as like") {
  Counter counter;
  HeldMoments moments(counter);
  const View view = view_of_delta(0);
  std::list<Hold> holds;
  for (int i = 0; i < 1000; ++i) moments.begin(view, &holds.emplace_back());
  for (const Hold& hold : holds) CHECK_FALSE(hold.is_revoked());
  CHECK(counter.value() == 0);
}

TEST_CASE("the oldest moment is revoked when more than the cap of deltas is held") {
  Counter counter;
  HeldMoments moments(counter);
  std::list<Hold> holds;
  const auto revoked = [&] {
    std::string out;
    for (const Hold& hold : holds) out += hold.is_revoked() ? 'r' : '-';
    return out;
  };
  for (uint64_t i = 0; i < HeldMoments::kDeltasMax; ++i) {
    moments.begin(view_of_delta(i * 10), &holds.emplace_back());
  }
  CHECK(revoked() == "-----------");
  moments.begin(view_of_delta(1000), &holds.emplace_back());
  CHECK(revoked() == "r-----------");
  holds.erase(std::next(holds.begin()));  // one that ends makes room
  moments.begin(view_of_delta(1010), &holds.emplace_back());
  CHECK(revoked() == "r-----------");
  moments.begin(view_of_delta(1020), &holds.emplace_back());
  CHECK(revoked() == "rr-----------");
  CHECK(counter.value() == 2);
  holds.clear();
  for (uint64_t i = 0; i < HeldMoments::kDeltasMax; ++i) {
    moments.begin(view_of_delta(i), &holds.emplace_back());
  }
  CHECK(counter.value() == 2);
}

TEST_CASE("the runs that are held count together, those of the past against the newest") {
  FaultFs fs;
  const auto engine = must_open(small_options(fs));
  REQUIRE(engine->put(1, "one").ok());
  REQUIRE(engine->snapshot().ok());
  View view = engine->view();
  REQUIRE(view.runs.size() == 1);
  Counter counter;
  HeldMoments moments(counter);
  std::list<Hold> holds;
  for (int i = 0; i < 100; ++i) {
    view.active = std::make_shared<Delta>(0);
    moments.begin(view, &holds.emplace_back());
  }
  CHECK(counter.value() == 0);
  CHECK(moments.run_bytes() == view.runs[0]->meta().record_bytes);
  holds.clear();
  CHECK(moments.run_bytes() == 0);
}

TEST_CASE("readers that lag behind more writes than may be held are broken off", "[e2e]") {
  Served s;
  const std::string value(1 << 20, 'v');
  for (uint64_t key = 0; key < 24; ++key) {
    REQUIRE(s.client.call("PUT", kv_path(key), value).status == 201);
  }
  const HeaderList lines = {{"Accept", "application/x-ndjson"}};
  std::list<Client> readers;
  for (size_t i = 0; i <= HeldMoments::kDeltasMax; ++i) {
    Client& reader = readers.emplace_back(s.server.endpoint());
    HttpResponse head;
    REQUIRE(reader.send("GET", "/v1/scan", "", lines).ok());
    REQUIRE(reader.receive_head(&head).ok());
    REQUIRE(head.status == 200);
    REQUIRE(s.client.call("PUT", kv_path(100 + i), "x").status == 201);
    REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  }
  CHECK(s.client.metric("kyrodb_http_rejected_total{reason=\"stale_reader\"}") == "1");
  const auto reads_to_the_end = [](Client& reader) {
    std::string body;
    bool end = false;
    Status status;
    while (status.ok() && !end) status = reader.receive_body(&body, &end);
    return end && body.find("\n{\"complete\":true,") != body.npos;
  };
  CHECK_FALSE(reads_to_the_end(readers.front()));
  CHECK(reads_to_the_end(*std::next(readers.begin())));
  CHECK(reads_to_the_end(readers.back()));
}

}  // namespace
}  // namespace kyro::test
