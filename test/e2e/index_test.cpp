// `kyrodb index`, and scripts/examples/index: the library by itself, and a reader of its files in
// Python that finds what lookups find.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "test/support/ctl.h"
#include "test/support/json_tree.h"
#include "test/support/rmi_test_util.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

// Names, sizes and times of what lies in a directory.
std::map<std::string, std::pair<uintmax_t, int64_t>> seen_in(const std::string& dir) {
  std::map<std::string, std::pair<uintmax_t, int64_t>> seen;
  for (const auto& entry : fs::directory_iterator(dir)) {
    seen[entry.path().filename().string()] = {entry.file_size(),
                                              entry.last_write_time().time_since_epoch().count()};
  }
  return seen;
}

uint64_t sum_of_bins(const JsonTree& bins) {
  uint64_t sum = 0;
  for (const JsonTree& bin : bins.elements) sum += parse_u64(bin.elements.at(2).text).value_or(0);
  return sum;
}

// The one index that `kyrodb index --json` tells of.
JsonTree told_of(const std::string& path) {
  const Outcome outcome = run_kyrodb({"index", path, "--json"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.err.empty());
  const JsonTree all = JsonTree::parse(outcome.out);
  REQUIRE(all.at("indexes").elements.size() == 1);
  return all.at("indexes").elements[0];
}

void check_sums(const JsonTree& index) {
  const uint64_t entries = parse_u64(index.at("entries").text).value_or(0);
  for (const char* bins : {"levels", "errors", "probes"}) {
    INFO(bins);
    CHECK(sum_of_bins(index.at(bins)) == entries);
  }
  CHECK(std::stod(index.at("fill").text) <= 1.0);
}

void check_index_refused(const std::string& path, const std::string& said) {
  const Outcome outcome = run_kyrodb({"index", path});
  INFO(path << ": " << outcome.out << outcome.err);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.out.empty());
  CHECK(contains(outcome.err, said));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  const Outcome json = run_kyrodb({"index", path, "--json"});
  CHECK(json.exit_code == 1);
  CHECK(is_json_line(json.err));
}

std::string write_index(const TempDir& dir, const Keys& keys) {
  write_file(dir.file("by-itself"), build_bytes(entries_of(keys), {}));
  return dir.file("by-itself");
}

bool is_there(const char* program) {
  if (std::system(("command -v " + std::string(program) + " >/dev/null").c_str()) == 0) return true;
  WARN("skipped: " << program << " is not installed");
  return false;
}

Outcome read_index(const std::string& file, const Keys& wanted) {
  std::string lines;
  for (const uint64_t key : wanted) lines += std::to_string(key) + "\n";
  return run_program(
      {"/usr/bin/env", "python3", "-B", "scripts/examples/index/read_index.py", file, "-"}, lines);
}

// Keys that are there, their neighbours, and both ends.
Keys with_neighbours(const Keys& keys) {
  Keys wanted{0, 1, ~uint64_t{0} - 1, ~uint64_t{0}};
  for (const uint64_t key : keys) {
    wanted.insert(wanted.end(), {key, key - 1, key + 1});
  }
  return sorted_unique(std::move(wanted));
}

}  // namespace

TEST_CASE("index tells of every run, draws the largest one, and changes nothing", "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  {
    ServerProcess server(data);
    Client client(server);
    CHECK(run_ctl({"-e", server.url(), "import", "test/data/places.ndjson"}).exit_code == 0);
    REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
    // Files of a running server may be looked at, its directory is its own.
    check_sums(told_of(data + "/run-1.rmi"));
    const Outcome busy = run_kyrodb({"index", data});
    CHECK(busy.exit_code == 1);
    CHECK(contains(busy.err, "kyrodb index DIR/run-N.rmi"));
    CHECK(server.stop().exit_code == 0);
  }
  const auto before = seen_in(data);
  const JsonTree index = told_of(data);
  CHECK(index.at("file").text == "run-1.rmi");
  CHECK(index.at("records").text == "2000");
  CHECK(index.at("bytes").text == std::to_string(fs::file_size(data + "/run-1.rmi")));
  check_sums(index);
  const Outcome table = run_kyrodb({"index", data, "--svg", dir.file("index.svg")});
  INFO(table.out << table.err);
  CHECK(table.exit_code == 0);
  for (const char* word : {"run-1.rmi\n", "records of the run: 2000", "depth", "leaves", "a key",
                           "fill", "epsilon", "levels", "error, slots", "probes, slots"}) {
    INFO(word);
    CHECK(contains(table.out, word));
  }
  std::istringstream lines(table.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 120);
  const std::string picture = read_file(dir.file("index.svg"));
  CHECK(run_kyrodb({"index", data, "--svg", "-"}).out == picture);
  CHECK(picture.size() < 200'000);
  for (const char* part :
       {"<svg ", "class=\"keys\"", "class=\"model\"", "class=\"d", "class=\"mean\"", "</svg>\n"}) {
    INFO(part);
    CHECK(contains(picture, part));
  }
  CHECK_FALSE(contains(picture, "nan"));
  if (is_there("python3")) {
    CHECK(run_program({"/usr/bin/env", "python3", "-c",
                       "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])",
                       dir.file("index.svg")})
              .exit_code == 0);
  }
  CHECK(seen_in(data) == before);
  CHECK(run_kyrodb({"index", data, "--json", "--svg", "-"}).exit_code == 2);
}

TEST_CASE("index reads what older versions and programs have written, and stores without a run",
          "[e2e]") {
  TempDir dir;
  for (const char* store : {"store-v2", "store-v3"}) {
    INFO(store);
    fs::copy(std::string("test/data/") + store, dir.file(store));
    const Outcome outcome = run_kyrodb({"index", dir.file(store), "--json"});
    INFO(outcome.err);
    REQUIRE(outcome.exit_code == 0);
    const JsonTree all = JsonTree::parse(outcome.out);
    CHECK_FALSE(all.at("indexes").elements.empty());
    for (const JsonTree& index : all.at("indexes").elements) {
      check_sums(index);
      const JsonTree alone = told_of(dir.file(store) + "/" + index.at("file").text);
      CHECK(alone.at("entries").text == index.at("entries").text);
      CHECK(alone.at("key_max").text == index.at("key_max").text);
    }
  }
  for (const Keys& keys : {Keys{}, Keys{0}, Keys{0, ~uint64_t{0}}, outlier_keys(3000, 5)}) {
    const std::string file = write_index(dir, keys);
    const JsonTree index = told_of(file);
    CHECK(index.at("entries").text == std::to_string(keys.size()));
    check_sums(index);
    const Outcome drawn = run_kyrodb({"index", file, "--svg", "-"});
    CHECK(drawn.exit_code == 0);
    CHECK(drawn.out.ends_with("</svg>\n"));
    CHECK_FALSE(contains(drawn.out, "nan"));
    CHECK(run_kyrodb({"index", file}).exit_code == 0);
  }
  ServerProcess server(dir.file("empty"));
  CHECK(server.stop().exit_code == 0);
  CHECK(contains(run_kyrodb({"index", dir.file("empty")}).out, "no runs yet"));
  CHECK(run_kyrodb({"index", dir.file("empty"), "--json"}).out == "{\"indexes\":[]}\n");
  CHECK(contains(run_kyrodb({"index", dir.file("empty"), "--svg", "-"}).out, "no entries"));
}

TEST_CASE("index refuses what is damaged, and says which file and why", "[e2e]") {
  TempDir dir;
  const std::string file = write_index(dir, uniform_keys(300, 9));
  const std::string good = read_file(file);
  for (size_t at = 0; at < good.size(); at += good.size() / 60) {
    INFO("byte " << at);
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    write_file(dir.file("run-7.rmi"), bytes);
    check_index_refused(dir.file("run-7.rmi"), "run-7.rmi: index file: ");
  }
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, good.size() - 1}) {
    INFO(size << " bytes");
    write_file(dir.file("run-7.rmi"), good.substr(0, size));
    check_index_refused(dir.file("run-7.rmi"), "run-7.rmi: index file: ");
  }
  fs::copy("test/data/store-v3", dir.file("store"));
  std::string bytes = read_file(dir.file("store/run-1.rmi"));
  bytes[100] = static_cast<char>(bytes[100] ^ 1);
  write_file(dir.file("store/run-1.rmi"), bytes);
  check_index_refused(dir.file("store"), "run-1.rmi: index file: ");
  check_index_refused(dir.file("store/run-1.rmi"), "run-1.rmi: index file: ");
  fs::remove(dir.file("store/run-1.rmi"));
  check_index_refused(dir.file("store"), "a server makes it anew at its start");
  fs::copy("test/data/store-v1", dir.file("old"));
  check_index_refused(dir.file("old"), "an older format, to be built anew; a server makes it anew");
  check_index_refused(dir.file("nothing"), "nothing");
  fs::create_directory(dir.file("no-store"));
  check_index_refused(dir.file("no-store"), "no KyroDB store there");
  write_file(dir.file("text"), "hello");
  check_index_refused(dir.file("text"), "text");
}

TEST_CASE("A reader in Python finds in an index file what a lookup finds", "[e2e]") {
  if (!is_there("python3")) return;
  const uint64_t seed = test_seed(72);
  INFO("seed " << seed);
  TempDir dir;
  for (const auto& [name, keys] : all_distributions(700, seed)) {
    INFO(name);
    const Keys wanted = with_neighbours(keys);
    std::string expected;
    for (const uint64_t key : wanted) {
      const auto at = std::lower_bound(keys.begin(), keys.end(), key);
      expected += std::to_string(key) + ": ";
      expected += at == keys.end() ? "none\n"
                                   : std::to_string(*at) + " is at " +
                                         std::to_string((at - keys.begin()) * 8) + "\n";
    }
    const Outcome outcome = read_index(write_index(dir, keys), wanted);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out == expected);
  }
  // Those of runs, with a filter and without: every key has a page or a record that is its own.
  for (const char* file : {"store-v2/run-1.rmi", "store-v3/run-1.rmi", "store-v3/run-2.rmi"}) {
    INFO(file);
    const std::string path = std::string("test/data/") + file;
    const auto last = parse_u64(told_of(path).at("key_max").text);
    REQUIRE(last);
    const Outcome outcome = read_index(path, {0, *last});
    CHECK(contains(outcome.out, "0: "));
    CHECK(contains(outcome.out,
                   "\n" + std::to_string(*last) + ": " + std::to_string(*last) + " is at "));
  }
}

TEST_CASE("The index by itself is a library, and its files can be looked at", "[e2e]") {
  const char* named = std::getenv("CXX");
  const std::string compiler = named != nullptr ? named : "g++";
  if (!is_there(compiler.c_str())) return;
  TempDir dir;
  const Outcome compiled =
      run_program({"/usr/bin/env", compiler, "-std=c++20", "-I.", "-Wall", "-Wextra", "-Werror",
                   "scripts/examples/index/squares.cpp", "-o", dir.file("squares")});
  INFO(compiled.err);
  REQUIRE(compiled.exit_code == 0);
  const std::string file = dir.file("squares.rmi");
  const Outcome run = run_program({dir.file("squares"), file});
  CHECK(run.exit_code == 0);
  CHECK(contains(run.out, "1764 is the square of 42, the next one is 1849\n"));
  const JsonTree index = told_of(file);
  CHECK(index.at("entries").text == "100000");
  CHECK(contains(run.out, index.at("bytes").text + " bytes, " + index.at("depth").text +
                              " levels, at most " + index.at("epsilon").text + " slots off\n"));
  check_sums(index);
  if (!is_there("python3")) return;
  CHECK(read_index(file, {1764, 1765}).out == "1764: 1764 is at 42\n1765: 1849 is at 43\n");
}

}  // namespace kyro::test
