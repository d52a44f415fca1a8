// Slices and rows: what is compared with what, in which direction, and with which spread.
#include <catch2/catch.hpp>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "bench/slices.h"

namespace kyro::bench {
namespace {

// A row of one metric: the values of one competitor, round by round.
void add_slices(std::vector<Slice>* to, const char* metric, Side side, const char* name,
                std::initializer_list<double> values) {
  uint32_t round = 0;
  for (const double value : values) to->push_back({"s", "r", metric, side, name, round++, value});
}

const Row& row_named(const std::vector<Row>& rows, std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return row;
  }
  FAIL("no row of " << name);
  return rows.front();
}

std::string what_is_wrong(const std::string& text, std::vector<Slice>* out) {
  FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fputs(text.c_str(), file);
  std::rewind(file);
  const std::string wrong = read_slices(file, out);
  std::fclose(file);
  return wrong;
}

TEST_CASE("a ratio is the median of ratios within rounds, not the ratio of medians") {
  std::vector<Slice> slices;
  // The machine slows both down by ten in some rounds; ours takes half the time in each of them.
  add_slices(&slices, "hit_ns", Side::kOurs, "kyro", {10, 100, 10, 100, 10});
  add_slices(&slices, "hit_ns", Side::kPeer, "tree", {20, 200, 20, 200, 22});
  const std::vector<Row> rows = rows_of(slices);
  const Row& tree = row_named(rows, "tree");
  CHECK(tree.rounds == 5);
  CHECK(tree.median == 22);
  CHECK(tree.ratio == Approx(2));
  CHECK(tree.ratio_low == Approx(2));
  CHECK(tree.ratio_high == Approx(2));
  CHECK(tree.mark() == std::string_view());
  CHECK(row_named(rows, "kyro").ratio == Approx(1));
}

TEST_CASE("above 1 a ratio is in our favour, of rates and of times") {
  std::vector<Slice> slices;
  add_slices(&slices, "per_s", Side::kOurs, "kyro", {300, 300});
  add_slices(&slices, "per_s", Side::kPeer, "slow", {100, 100});
  add_slices(&slices, "per_s", Side::kPeer, "fast", {600, 600});
  add_slices(&slices, "p99_us", Side::kOurs, "kyro", {5, 5});
  add_slices(&slices, "p99_us", Side::kPeer, "late", {20, 20});
  add_slices(&slices, "p99_us", Side::kPeer, "early", {4, 4});
  add_slices(&slices, "per_s", Side::kLimit, "bound", {9000, 9000});
  const std::vector<Row> rows = rows_of(slices);
  CHECK(row_named(rows, "slow").ratio == Approx(3));
  CHECK(row_named(rows, "fast").ratio == Approx(0.5));
  CHECK(row_named(rows, "late").ratio == Approx(4));
  CHECK(row_named(rows, "early").ratio == Approx(0.8));
  // The best peer is the fastest one in the metric's direction; a limit is none, nor are we.
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(row.is_best_peer == (row.name == "fast" || row.name == "early"));
  }
}

TEST_CASE("rounds that one of two has not measured do not count, and none at all give no ratio") {
  std::vector<Slice> slices;
  add_slices(&slices, "per_s", Side::kOurs, "kyro", {10, 10});
  add_slices(&slices, "per_s", Side::kPeer, "longer", {5, 5, 1000, 1000, 1000});
  slices.push_back({"s", "r", "per_s", Side::kPeer, "elsewhere", 7, 1});
  slices.push_back({"s", "r", "per_s", Side::kPeer, "zero", 0, 0});
  const std::vector<Row> rows = rows_of(slices);
  CHECK(row_named(rows, "longer").ratio == Approx(2));
  CHECK(row_named(rows, "longer").is_best_peer);
  CHECK(row_named(rows, "elsewhere").ratio == 0);
  CHECK(row_named(rows, "zero").ratio == 0);
  CHECK_FALSE(row_named(rows, "elsewhere").is_best_peer);
}

TEST_CASE("a row is marked when its quartiles are far apart, and when it was measured once") {
  std::vector<Slice> slices;
  add_slices(&slices, "per_s", Side::kOurs, "kyro", {100, 100, 100, 100, 100});
  add_slices(&slices, "per_s", Side::kPeer, "steady", {100, 98, 102, 50, 200});
  add_slices(&slices, "per_s", Side::kPeer, "restless", {100, 50, 200, 60, 150});
  add_slices(&slices, "per_s", Side::kPeer, "single", {100});
  const std::vector<Row> rows = rows_of(slices);
  // One slow and one fast slice of five do not matter.
  CHECK(row_named(rows, "steady").mark() == std::string_view());
  CHECK(row_named(rows, "restless").mark() == std::string_view("wide"));
  CHECK(row_named(rows, "single").mark() == std::string_view("once"));
}

TEST_CASE("quantiles lie between neighbours by proportion") {
  CHECK(quantile({}, 0.5) == 0);
  CHECK(quantile({7}, 0.25) == 7);
  CHECK(quantile({4, 1}, 0.5) == Approx(2.5));
  CHECK(quantile({5, 1, 4, 2, 3}, 0.25) == Approx(2));
  CHECK(quantile({5, 1, 4, 2, 3}, 1) == Approx(5));
}

TEST_CASE("slices are read back as they were written, and a wrong line is named") {
  const std::string head = "suite,row,metric,side,name,round,value\n";
  std::vector<Slice> slices;
  CHECK(what_is_wrong(head + "http,get_1x1,per_s,limit,epoll,3,12.5\n", &slices).empty());
  REQUIRE(slices.size() == 1);
  CHECK(slices[0].row == "get_1x1");
  CHECK(slices[0].side == Side::kLimit);
  CHECK(slices[0].round == 3);
  CHECK(slices[0].value == 12.5);
  for (const char* bad : {"http,get,per_s,ours,kyro,0\n", "http,get,per_s,theirs,kyro,0,1\n",
                          "http,get,per_s,ours,kyro,0,\n", "http,get,per_s,ours,kyro,0,1x\n",
                          "http,get,per_s,ours,kyro,0,nan\n", "\n"}) {
    INFO(bad);
    std::vector<Slice> none;
    CHECK(what_is_wrong(head + bad, &none).starts_with("line 2: "));
    CHECK(none.empty());
  }
}

}  // namespace
}  // namespace kyro::bench
