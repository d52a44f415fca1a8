// Real places through the whole product: imported from a pipe over HTTP, every one read back byte
// for byte, a tenth overwritten, a tenth deleted, the server killed in the middle of further
// writes; then snapshot, compaction and index build, and everything compared after each restart.
//
// The whole file (135,182 places) lies beside the repository where somebody works on it; its sample
// of 2,000 places is in test/data. KYRO_CITIES names another place for the file.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/json/record_json.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

using Places = std::map<uint64_t, std::string>;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What `command` (cat or zcat of the file) prints, decoded; the number of its lines.
size_t load_places(const std::string& command, Places* places) {
  const Outcome text = run_program({"/bin/sh", "-c", command});
  REQUIRE(text.exit_code == 0);
  std::string_view rest = text.out;
  size_t lines = 0;
  JsonWrite record;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    REQUIRE(decode_json_put(rest.substr(0, end), &record).ok());
    (*places)[*record.key] = std::string(*record.value);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    ++lines;
  }
  return lines;
}

// Sends one request per key, a window of them at a time, and hands every answer to `take`.
template <class Request, class Take>
void pipeline(Client& client, const std::vector<uint64_t>& keys, const Request& request,
              const Take& take) {
  constexpr size_t kWindow = 256;
  for (size_t begin = 0; begin < keys.size(); begin += kWindow) {
    const size_t end = std::min(begin + kWindow, keys.size());
    std::string bytes;
    for (size_t i = begin; i < end; ++i) request(bytes, keys[i]);
    client.must_send(bytes);
    for (size_t i = begin; i < end; ++i) take(keys[i], client.next());
  }
}

void append_get(std::string& out, uint64_t key) {
  out += "GET /v1/get_fast/" + std::to_string(key) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}
void append_put(std::string& out, uint64_t key, std::string_view value) {
  out += "PUT " + kv_path(key) +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(value.size()) +
         "\r\n\r\n";
  out += value;
}
void append_delete(std::string& out, uint64_t key) {
  out += "DELETE " + kv_path(key) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

// What the store must hold: of every key that ever was, its value or nothing.
struct Model {
  std::map<uint64_t, std::optional<std::string>> values;

  [[nodiscard]] std::vector<uint64_t> keys() const {
    std::vector<uint64_t> out;
    for (const auto& [key, value] : values) out.push_back(key);
    return out;
  }
  // Every `step`-th key that holds something, beginning with the `first`.
  [[nodiscard]] std::vector<uint64_t> some(size_t first, size_t step) const {
    std::vector<uint64_t> out;
    size_t at = 0;
    for (const auto& [key, value] : values) {
      if (at++ % step == first && value) out.push_back(key);
    }
    return out;
  }
  [[nodiscard]] size_t live() const {
    size_t count = 0;
    for (const auto& [key, value] : values) count += value ? 1u : 0u;
    return count;
  }
};

void compare_all(Client& client, const Model& model) {
  size_t wrong = 0;
  pipeline(client, model.keys(), append_get, [&](uint64_t key, const HttpResponse& response) {
    const auto& expected = model.values.at(key);
    const bool is_right =
        expected ? response.status == 200 && response.body == *expected : response.status == 404;
    if (!is_right) ++wrong;
  });
  REQUIRE(wrong == 0);
}

std::string rewritten(const std::string& value, int version) {
  return value + "\n-- version " + std::to_string(version);
}

void overwrite_and_delete(Client& client, Model* model) {
  pipeline(
      client, model->some(3, 10),
      [&](std::string& out, uint64_t key) {
        model->values[key] = rewritten(*model->values[key], 2);
        append_put(out, key, *model->values[key]);
      },
      [](uint64_t, const HttpResponse& response) { REQUIRE(response.status == 204); });
  pipeline(
      client, model->some(7, 10),
      [&](std::string& out, uint64_t key) {
        model->values[key].reset();
        append_delete(out, key);
      },
      [](uint64_t, const HttpResponse& response) { REQUIRE(response.status == 204); });
}

// Kills the server while a connection writes; what was not answered is found out afterwards.
void kill_in_the_middle(ServerProcess& server, Model* model) {
  const std::vector<uint64_t> keys = model->some(5, 4);
  HttpClient client(server.endpoint());
  constexpr size_t kBatch = 100;
  const size_t kill_at = keys.size() / 3;
  size_t sent = 0;
  size_t answered = 0;
  bool all_stored = true;
  const auto take_answer = [&] {
    HttpResponse response;
    if (!client.receive(&response).ok()) return false;
    all_stored = all_stored && response.status == 204;
    ++answered;
    return true;
  };
  // Two batches are on their way while one is answered.
  while (sent < kill_at + 2 * kBatch && sent < keys.size()) {
    std::string bytes;
    for (size_t i = 0; i < kBatch && sent < keys.size(); ++i, ++sent) {
      append_put(bytes, keys[sent], rewritten(*model->values[keys[sent]], 3));
    }
    REQUIRE(client.send_raw(bytes).ok());
    while (answered + 2 * kBatch < sent) REQUIRE(take_answer());
  }
  server.process().signal(SIGKILL);
  // Answers that were on their way count: they were acknowledged.
  while (answered < sent && take_answer()) {
  }
  CHECK(server.process().wait().exit_code == 128 + SIGKILL);
  CHECK(all_stored);
  for (size_t i = 0; i < answered; ++i) {
    model->values[keys[i]] = rewritten(*model->values[keys[i]], 3);
  }
  require_verified(server.data_dir());
  server.start();
  Client again(server);
  const std::vector<uint64_t> open(keys.begin() + static_cast<std::ptrdiff_t>(answered),
                                   keys.begin() + static_cast<std::ptrdiff_t>(sent));
  pipeline(again, open, append_get, [&](uint64_t key, const HttpResponse& found) {
    const std::string next = rewritten(*model->values[key], 3);
    if (found.status == 200 && found.body == next) model->values[key] = next;
  });
}

void run_places(const std::string& command, bool is_reported) {
  Places places;
  const size_t lines = load_places(command, &places);
  TempDir dir;
  ServerProcess server(dir.file("data"));
  const Clock::time_point began = Clock::now();
  const Outcome import = run_program(
      {"/bin/sh", "-c", command + " | \"$0\" -e \"$1\" import -", client_binary(), server.url()});
  const double import_secs = seconds_since(began);
  INFO(import.err);
  REQUIRE(import.exit_code == 0);
  CHECK(import.err.find("imported " + std::to_string(lines) + " records") != std::string::npos);
  Model model;
  for (auto& [key, value] : places) model.values[key] = value;
  {
    Client client(server);
    CHECK(client.next_offset() == lines);
    compare_all(client, model);
    overwrite_and_delete(client, &model);
    compare_all(client, model);
  }
  kill_in_the_middle(server, &model);
  {
    Client client(server);
    compare_all(client, model);
    CHECK(client.call("POST", "/v1/snapshot").status == 200);
    compare_all(client, model);
    CHECK(client.call("POST", "/v1/compact")
              .body.find("\"keys_retained\":" + std::to_string(model.live()) + "}") !=
          std::string::npos);
    compare_all(client, model);
    CHECK(client.call("POST", "/v1/rmi/build").body ==
          "{\"ok\":true,\"count\":" + std::to_string(model.live()) + "}");
    compare_all(client, model);
  }
  CHECK(server.stop().exit_code == 0);
  require_verified(dir.file("data"));
  const Clock::time_point restarted = Clock::now();
  server.start();
  const double restart_secs = seconds_since(restarted);
  Client client(server);
  CHECK(client.metric("kyrodb_keys") == std::to_string(model.live()));
  compare_all(client, model);
  CHECK(server.stop().exit_code == 0);
  require_verified(dir.file("data"));
  if (is_reported) {
    WARN(lines << " places imported in " << import_secs << " s ("
               << static_cast<double>(lines) / import_secs << "/s, durable), restarted in "
               << restart_secs * 1000 << " ms");
  }
}

}  // namespace

TEST_CASE("The sample of places survives import, overwriting, SIGKILL and compaction", "[e2e]") {
  run_places("cat test/data/places.ndjson", false);
}

TEST_CASE("All the places survive import, overwriting, SIGKILL and compaction", "[e2e]") {
  const char* path = std::getenv("KYRO_CITIES");
  const std::string cities = path != nullptr ? path : "../shared/data/cities.ndjson.gz";
  if (!std::filesystem::exists(cities)) {
    WARN("skipped: " << cities << " is not there (the sample in test/data was tested)");
    return;
  }
  run_places("zcat " + cities, true);
}
