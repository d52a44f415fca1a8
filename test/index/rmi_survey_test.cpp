// RmiSurveyor: what is found out about every entry adds up, and agrees with lookups.
#include "kyro/index/rmi_survey.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <numeric>

#include "test/support/rmi_test_util.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

template <class Bins>
uint64_t total_of(const Bins& bins) {
  return std::accumulate(bins.begin(), bins.end(), uint64_t{0});
}

void check_survey(const Keys& keys, const RmiOptions& options) {
  const BuiltIndex built(entries_of(keys), options);
  const RmiIndex& index = built.index();
  REQUIRE(index.verify().ok());
  constexpr size_t kColumns = 37;
  const RmiSurvey survey = RmiSurveyor::survey(index, kColumns);
  CHECK(total_of(survey.levels) == keys.size());
  CHECK(total_of(survey.probes) == keys.size());
  CHECK(total_of(survey.errors) + survey.searched == keys.size());
  CHECK(survey.in_line <= keys.size() - survey.searched);
  CHECK(survey.slots >= keys.size());

  RmiSurvey::Bins probes{};
  uint64_t outliers = 0;
  std::vector<uint64_t> columns(kColumns);
  for (const uint64_t key : keys) {
    ++probes[RmiSurvey::bin_of(index.probe_length(key))];
    if (key < survey.low_key || key > survey.high_key) {
      ++outliers;
      continue;
    }
    // The first column whose end lies after the key.
    __extension__ using Wide = unsigned __int128;
    const Wide span = Wide{survey.high_key - survey.low_key} + 1;
    size_t column = 0;
    while (Wide{key - survey.low_key} * kColumns >= span * (column + 1)) ++column;
    ++columns[column];
  }
  CHECK(survey.probes == probes);
  CHECK(survey.outliers == outliers);
  for (size_t i = 0; i < kColumns; ++i) {
    INFO("column " << i);
    CHECK(survey.columns[i].entries == columns[i]);
    CHECK(survey.columns[i].error_max <= std::max<uint64_t>(index.epsilon_max(), 3));
    CHECK(survey.columns[i].error_sum <= survey.columns[i].error_max * columns[i]);
  }
  for (size_t i = index.depth() + 1; i < survey.levels.size(); ++i) CHECK(survey.levels[i] == 0);
}

}  // namespace

TEST_CASE("A survey of an index counts every entry once, and as lookups find it") {
  const uint64_t seed = test_seed(71);
  INFO("seed " << seed);
  for (const auto& [name, keys] : all_distributions(3000, seed)) {
    INFO(name);
    check_survey(keys, {});
    check_survey(keys, {.target_leaf = 8, .eps_mult = 4.0});
  }
  check_survey({}, {});
  check_survey({0}, {});
  check_survey({~uint64_t{0}}, {});
  check_survey({0, ~uint64_t{0}}, {});
}

TEST_CASE("The bins of a survey follow one another without a gap") {
  for (size_t bin = 0; bin < RmiSurvey::kBins; ++bin) {
    INFO("bin " << bin);
    CHECK(RmiSurvey::bin_of(RmiSurvey::bin_low(bin)) == bin);
    CHECK(RmiSurvey::bin_of(RmiSurvey::bin_high(bin)) == bin);
    if (bin > 0) CHECK(RmiSurvey::bin_low(bin) == RmiSurvey::bin_high(bin - 1) + 1);
  }
  CHECK(RmiSurvey::bin_high(RmiSurvey::kBins - 1) >= kRmiDisplacementMax);
}

}  // namespace kyro::test
