// What the tests of the command lines share.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "kyro/json/json_reader.h"
#include "test/support/server_process.h"

namespace kyro::test {

// Help and data go to stdout, and nothing to stderr.
inline void check_says(const Outcome& outcome, std::string_view part) {
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.out, part));
  CHECK(outcome.err.empty());
}

// A failure: an exit code, one sentence on stderr, nothing on stdout.
inline void check_fails(const Outcome& outcome, int exit_code, std::string_view part) {
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == exit_code);
  CHECK(contains(outcome.err, part));
  CHECK(outcome.out.empty());
}

inline bool is_json_line(std::string_view text) {
  JsonReader json(text);
  return text.ends_with('\n') && json.skip_value() && json.finish().ok();
}

struct CtlSession {
  CtlSession() : server(dir.file("data")) {}
  // `kyrodbctl -e URL …`
  Outcome ctl(Args words, std::string_view input = {}) const {
    words.insert(words.begin(), {"-e", server.url()});
    return run_ctl(words, input);
  }
  TempDir dir;
  ServerProcess server;
};

}  // namespace kyro::test
