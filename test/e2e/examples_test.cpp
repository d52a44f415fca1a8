// The tours of scripts/examples that are programs: what they print is what the records say.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numbers>
#include <set>
#include <string>
#include <vector>

#include "kyro/json/record_json.h"
#include "test/support/json_tree.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

bool has_python() {
  if (std::system("command -v python3 >/dev/null") == 0) return true;
  WARN("skipped: python3 is not installed");
  return false;
}

// A server, and an example that speaks to it.
struct Tour {
  explicit Tour(const std::string& example)
      : path(std::filesystem::absolute("scripts/examples/" + example).string()) {}
  Outcome run(Args words) const {
    words.insert(words.begin(), {path, served.server.url()});
    words.insert(words.begin(), {"/usr/bin/env", "python3", "-B"});
    return run_program(words);
  }
  const std::string path;
  Served served;
};

struct Place {
  double lon;
  double lat;
  std::string name;
};

std::vector<Place> places_of(const std::string& ndjson) {
  std::vector<Place> places;
  JsonWrite record;
  for (std::string_view rest = ndjson; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size() - 1);
    REQUIRE(decode_json_put(rest.substr(0, end), &record).ok());
    const JsonTree place = JsonTree::parse(std::string(*record.value));
    places.push_back({std::stod(place.at("lon").text), std::stod(place.at("lat").text),
                      place.at("name").text + ", " + place.at("country").text});
    rest.remove_prefix(end + 1);
  }
  return places;
}

double distance_km(double lon, double lat, const Place& place) {
  constexpr double kRadian = std::numbers::pi / 180;
  const double a = lat * kRadian, b = place.lat * kRadian;
  const double turn = (place.lon - lon) * kRadian;
  const double half = std::pow(std::sin((b - a) / 2), 2) +
                      std::cos(a) * std::cos(b) * std::pow(std::sin(turn / 2), 2);
  return 2 * 6371.0088 * std::asin(std::min(1.0, std::sqrt(half)));
}

// The names that the example prints, and those that looking at every place finds.
void check_near(const Tour& tour, const std::vector<Place>& places, double lon, double lat,
                double km) {
  std::multiset<std::string> wanted;
  for (const Place& place : places) {
    if (distance_km(lon, lat, place) <= km) wanted.insert(place.name);
  }
  const Outcome outcome =
      tour.run({"near", std::to_string(lon), std::to_string(lat), std::to_string(km)});
  INFO(lon << " " << lat << " " << km << ": " << outcome.err);
  CHECK(outcome.exit_code == 0);
  std::multiset<std::string> found;
  double last_km = 0;
  for (std::string_view rest = outcome.out; !rest.empty();) {
    const std::string line(rest.substr(0, rest.find('\n')));
    const size_t name = line.find(" km  ");
    REQUIRE(name != line.npos);
    CHECK(std::stod(line) >= last_km);
    last_km = std::stod(line);
    found.insert(line.substr(name + 5));
    rest.remove_prefix(line.size() + 1);
  }
  CHECK(found == wanted);
}

}  // namespace

TEST_CASE("Geo cells: a few range scans find every place within a distance", "[e2e]") {
  if (!has_python()) return;
  const Tour tour("geo_cells/geo_cells.py");
  // The point of the middle of the map opens its last quadrant but one.
  CHECK(tour.run({"cell", "0", "0"}).out == "9223372036854775808\n");
  std::string text = read_file("test/data/places.ndjson");
  std::string file = "test/data/places.ndjson";
  const TempDir dir;
  const std::string cities = "../shared/data/cities.ndjson.gz";
  if (std::filesystem::exists(cities)) {
    file = dir.file("cities.ndjson");
    REQUIRE(run_program({"/bin/bash", "-c", "zcat " + cities + " >" + file}).exit_code == 0);
    text = read_file(file);
  }
  const std::vector<Place> places = places_of(text);
  REQUIRE(places.size() >= 2000);
  CHECK(tour.run({"load", file}).out == std::to_string(places.size()) + " places\n");
  check_near(tour, places, 8.68, 50.11, 60);  // where there are many
  check_near(tour, places, 179.9, -17, 900);  // across the date line
  check_near(tour, places, -179.9, 65, 1200);
  check_near(tour, places, 20, 89, 1500);    // around a pole
  check_near(tour, places, 0, 0, 2000);      // where all four quadrants meet
  check_near(tour, places, -150, -40, 100);  // nothing
}

TEST_CASE("Feature store: a night is swapped in whole, or not at all", "[e2e]") {
  if (!has_python()) return;
  const Tour tour("feature_store/feature_store.py");
  CHECK(tour.run({"get", "17"}).exit_code == 1);
  CHECK(tour.run({"load", "scripts/examples/feature_store/nightly.csv"}).out ==
        "night 1: 3 vectors of 3 features\n");
  const std::string first =
      "{\"id\": 17, \"features\": {\"clicks_7d\": 12.0, \"basket_mean\": 31.5, "
      "\"hours_since_login\": 2.25}}\n{\"id\": 19, \"features\": null}\n";
  CHECK(tour.run({"get", "17", "19"}).out == first);

  const TempDir dir;
  std::string night = "id,score\n";
  for (int id = 0; id < 2500; ++id) night += std::to_string(id) + ",0.5\n";
  write_file(dir.file("broken.csv"), night + "2500,not a number\n");
  const Outcome broken = tour.run({"load", dir.file("broken.csv")});
  CHECK(broken.exit_code == 1);
  CHECK(contains(broken.err, "line 2502"));
  CHECK(tour.run({"get", "17", "19"}).out == first);

  write_file(dir.file("whole.csv"), night);
  CHECK(tour.run({"load", dir.file("whole.csv")}).out == "night 2: 2500 vectors of 1 features\n");
  CHECK(tour.run({"get", "17", "2499", "2500"}).out ==
        "{\"id\": 17, \"features\": {\"score\": 0.5}}\n"
        "{\"id\": 2499, \"features\": {\"score\": 0.5}}\n{\"id\": 2500, \"features\": null}\n");
  CHECK(tour.run({"which"}).out == "{\"generation\": 2, \"features\": [\"score\"]}\n");
}

}  // namespace kyro::test
