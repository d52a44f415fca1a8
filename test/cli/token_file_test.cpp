#include "kyro/cli/token_file.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

std::string outcome(const std::string& path) {
  const auto token = read_token_file(path);
  return token.ok() ? "token " + *token : std::string(token.status().message());
}

TEST_CASE("a token file is a regular file with one printable word in it") {
  TempDir dir;
  const std::string path = dir.file("token");
  const auto outcome_with = [&](const std::string& text) {
    write_file(path, text);
    return outcome(path);
  };
  CHECK(outcome_with("secret") == "token secret");
  CHECK(outcome_with("secret \r\n\t\n") == "token secret");
  CHECK(outcome_with("") == path + " is empty");
  CHECK(outcome_with("\n\n") == path + " is empty");
  CHECK(outcome_with("two words") == path + ": a token must be printable ASCII without spaces");
  CHECK(outcome_with("a\nb") == path + " has several lines: one file holds one secret");
  CHECK(outcome_with("old\r\nnew\r\n") == path + " has several lines: one file holds one secret");
  CHECK(outcome_with("\nlater").ends_with("one file holds one secret"));
  CHECK(outcome_with(std::string(kTokenFileBytesMax, 'x')).starts_with("token xxx"));
  CHECK(outcome_with(std::string(kTokenFileBytesMax + 1, 'x')).find("is larger") !=
        std::string::npos);
  CHECK(outcome(dir.file("none")) == dir.file("none") + ": No such file or directory");
}

TEST_CASE("what is not a regular file is refused as a token file without waiting for it") {
  TempDir dir;
  const std::string fifo = dir.file("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(outcome(fifo) == fifo + " is not a regular file");
  CHECK(outcome(dir.path()) == dir.path() + " is not a regular file");
  CHECK(outcome("/dev/zero") == "/dev/zero is not a regular file");
}

}  // namespace
}  // namespace kyro::test
