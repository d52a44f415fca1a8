#include "kyro/net/http2/answer_memory.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

namespace kyro {
namespace {

TEST_CASE("a header block is known while everything that it depends on is the same") {
  const AnswerMemory::Key key{.type = "text/plain",
                              .fields = "some fields",
                              .date_version = 1,
                              .coder_version = 2,
                              .status = 200,
                              .kind = 3};
  AnswerMemory memory;
  CHECK(memory.find(key).empty());
  CHECK(memory.find({}).empty());
  memory.learn(key, "block");
  CHECK(memory.find(key) == "block");
  const std::vector<std::function<void(AnswerMemory::Key&)>> changes = {
      [](auto& other) { other.type = "text/plaim"; },
      [](auto& other) { other.type = "text/plai", other.fields = "nsome fields"; },
      [](auto& other) { other.fields = "some field"; },
      [](auto& other) { other.date_version = 2; },
      [](auto& other) { other.coder_version = 3; },
      [](auto& other) { other.status = 201; },
      [](auto& other) { other.kind = 0; },
  };
  for (const auto& change : changes) {
    AnswerMemory::Key other = key;
    change(other);
    CHECK(memory.find(other).empty());
  }
  CHECK(memory.find(key) == "block");
}

TEST_CASE("what is too long is not kept, and nothing else in its place") {
  AnswerMemory memory;
  memory.learn({.status = 200}, "block");
  const std::string largest(AnswerMemory::kKeyBytesMax, 'f');
  memory.learn({.fields = largest, .status = 200}, std::string(AnswerMemory::kBlockBytesMax, 'b'));
  CHECK(memory.find({.fields = largest, .status = 200}).size() == AnswerMemory::kBlockBytesMax);
  const std::string too_large = largest + "f";
  memory.learn({.fields = too_large, .status = 200}, "block");
  CHECK(memory.find({.fields = too_large, .status = 200}).empty());
  CHECK(memory.find({.fields = largest, .status = 200}).empty());
  memory.learn({.status = 204}, std::string(AnswerMemory::kBlockBytesMax + 1, 'b'));
  CHECK(memory.find({.status = 204}).empty());
}

}  // namespace
}  // namespace kyro
