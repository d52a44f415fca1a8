#include "kyro/net/http/kept_request.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>

namespace kyro {
namespace {

TEST_CASE("a request that is kept says the same when what it came in is gone") {
  auto text = std::make_unique<std::string>("POST /v1/mget?expires=1 localhost name value body");
  const std::string_view all(*text);
  HttpRequest request;
  request.method = Method::kPost;
  request.has_query = true;
  request.method_text = all.substr(0, 4);
  request.target = all.substr(5, 18);
  request.path = all.substr(5, 8);
  request.query = all.substr(14, 9);
  request.host = all.substr(24, 9);
  request.fields = {{all.substr(34, 4), all.substr(39, 5)}, {"other", ""}};
  request.body = all.substr(45, 4);
  const KeptRequest kept(request);
  CHECK(KeptRequest::bytes_of(request) == 4 + 18 + 8 + 9 + 9 + 4 + 4 + 5 + 5);
  std::fill(text->begin(), text->end(), '#');
  text.reset();
  const HttpRequest& same = kept.request();
  CHECK(same.method == Method::kPost);
  CHECK(same.has_query);
  CHECK(same.method_text == "POST");
  CHECK(same.target == "/v1/mget?expires=1");
  CHECK(same.path == "/v1/mget");
  CHECK(same.query == "expires=1");
  CHECK(same.host == "localhost");
  CHECK(same.header("name") == "value");
  CHECK(same.header("other") == "");
  CHECK(same.body == "body");
}

}  // namespace
}  // namespace kyro
