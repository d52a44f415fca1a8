// A copy of a request that outlives the call in which a handler was given it: for an answer that
// has to wait before the request is looked at.
//
// Thread rule: one thread at a time. Ownership: owns what its views point to.
#pragma once

#include <string>
#include <string_view>

#include "kyro/net/http/request.h"

namespace kyro {

class KeptRequest {
 public:
  explicit KeptRequest(const HttpRequest& request) : request_(request) {
    text_.reserve(bytes_of(request));
    for (std::string_view* view : {&request_.method_text, &request_.target, &request_.path,
                                   &request_.query, &request_.host, &request_.body}) {
      keep(view);
    }
    for (HeaderField& field : request_.fields) {
      keep(&field.name);
      keep(&field.value);
    }
  }
  KeptRequest(const KeptRequest&) = delete;
  KeptRequest& operator=(const KeptRequest&) = delete;

  [[nodiscard]] const HttpRequest& request() const { return request_; }
  // What a copy of it takes, about.
  [[nodiscard]] static size_t bytes_of(const HttpRequest& request) {
    size_t bytes = request.method_text.size() + request.target.size() + request.path.size() +
                   request.query.size() + request.host.size() + request.body.size();
    for (const HeaderField& field : request.fields) {
      bytes += field.name.size() + field.value.size();
    }
    return bytes;
  }

 private:
  // REQUIRES: there is room, so that earlier views stay valid.
  void keep(std::string_view* view) {
    const size_t at = text_.size();
    text_.append(*view);
    *view = std::string_view(text_).substr(at);
  }

  std::string text_;
  HttpRequest request_;
};

}  // namespace kyro
