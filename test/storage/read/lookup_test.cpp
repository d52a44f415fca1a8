// A lookup says where a key lies, and its holder keeps the value there.
#include "kyro/storage/read/lookup.h"

#include <catch2/catch.hpp>

#include "test/support/engine_harness.h"

namespace kyro::test {

TEST_CASE("a value that is held stays as it was after its delta or run has gone from the view") {
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  must_put(*engine, 1, "first");
  const Source source = GENERATE(Source::kDelta, Source::kRun);
  if (source == Source::kRun) REQUIRE(engine->snapshot().ok());
  Lookup found;
  std::string_view value;
  std::shared_ptr<const void> holder;
  {
    const EpochPin pin;
    REQUIRE(engine->lookup(1, &found).ok());
    REQUIRE(found.source() == source);
    value = found.value();
    holder = found.holder();
  }
  const std::weak_ptr<const void> place = holder;
  must_put(*engine, 1, "second");
  REQUIRE(engine->compact().ok());
  epoch_collect();
  CHECK(value == "first");
  holder.reset();
  CHECK(place.expired());  // the engine had let go of it: only the holder kept it
}

TEST_CASE("a lookup tells a version in a frozen delta from a key that was never there") {
  View view;
  view.active = std::make_shared<Delta>(2);
  view.frozen.push_back(std::make_shared<Delta>(0));
  char record[kRecordHeaderBytes + 3];
  const Mutation mutation = Mutation::put(7, "old");
  encode_record(mutation, 0, record);
  view.frozen[0]->insert(load<RecordHeader>(record), {record, sizeof record});
  const Lookup found = find_in_view(view, 7, 1);
  REQUIRE(found.source() == Source::kDelta);
  CHECK(found.holder() == view.frozen[0]);
  CHECK(found.value() == "old");
  CHECK(find_in_view(view, 7, 0).source() == Source::kNone);
  CHECK(find_in_view(view, 8, 1).source() == Source::kNone);
}

}  // namespace kyro::test
