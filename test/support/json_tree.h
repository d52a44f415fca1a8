// A JSON document as a tree, for tests that look at one from several sides. Built with the
// product's reader, so what is not JSON fails the test.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/json/json_reader.h"

namespace kyro::test {

struct JsonTree {
  JsonType type = JsonType::kInvalid;
  std::string text;  // of a string; the spelling of a number
  std::map<std::string, JsonTree> fields;
  std::vector<JsonTree> elements;

  [[nodiscard]] static JsonTree parse(std::string_view document) {
    JsonReader reader(document);
    JsonTree tree = read(reader);
    const Status status = reader.finish();
    INFO(status.to_string());
    REQUIRE(status.ok());
    return tree;
  }

  // The field of that name, or null.
  [[nodiscard]] const JsonTree* find(const std::string& name) const {
    const auto at = fields.find(name);
    return at == fields.end() ? nullptr : &at->second;
  }
  // A field that there must be.
  [[nodiscard]] const JsonTree& at(const std::string& name) const {
    const JsonTree* field = find(name);
    INFO("field " << name);
    REQUIRE(field != nullptr);
    return *field;
  }
  // What a local reference such as "#/components/responses/Error" in `root` leads to; itself if it
  // is none.
  [[nodiscard]] const JsonTree& resolved(const JsonTree& root) const {
    const JsonTree* reference = find("$ref");
    if (reference == nullptr) return *this;
    const JsonTree* target = &root;
    std::string_view path = reference->text;
    REQUIRE(path.starts_with("#/"));
    path.remove_prefix(2);
    while (true) {
      const size_t slash = path.find('/');
      target = &target->at(std::string(path.substr(0, slash)));
      if (slash == path.npos) return *target;
      path.remove_prefix(slash + 1);
    }
  }

 private:
  static JsonTree read(JsonReader& reader) {
    JsonTree tree;
    tree.type = reader.peek();
    std::string_view view;
    std::string unescaped;
    switch (tree.type) {
      case JsonType::kObject:
        if (!reader.enter_object()) break;
        while (reader.next_field(&view)) {
          const std::string name(view);
          REQUIRE(tree.fields.emplace(name, read(reader)).second);
        }
        break;
      case JsonType::kArray:
        if (!reader.enter_array()) break;
        while (reader.next_element()) tree.elements.push_back(read(reader));
        break;
      case JsonType::kString:
        if (reader.read_string(&view, &unescaped)) tree.text = view;
        break;
      case JsonType::kNumber:
        if (reader.read_number(&view)) tree.text = view;
        break;
      default:
        reader.skip_value();
    }
    return tree;
  }
};

}  // namespace kyro::test
