// GET /: the status page for browsers, one line of JSON for programs.
//
// The page is one file without any data in it (kyro/server/page.html), which the build puts into
// the binary; what it shows it asks for at /v1/status and the routes of data, with the token that
// somebody has typed into it. So it is answered without a token. Its policy lets a browser run and
// style nothing but what is in that file, and ask nobody but this server.
//
// Thread rule: on the exchange's reactor. Ownership: the page outlives the server.
#pragma once

#include <string>
#include <string_view>

#include "kyro/base/text/ascii.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/reply/reply.h"

namespace kyro {

// Nothing where there is none: --no-page, or a program that is not the product.
struct Page {
  std::string_view html;
  std::string_view policy;  // Content-Security-Policy, which names what is in the page by its hash
};

// Whether an answer in HTML is wanted: curl and programs do not ask for it, browsers do.
[[nodiscard]] inline bool wants_html(const HttpRequest& request) {
  bool wants = false;
  request.for_each_header([&](std::string_view name, std::string_view value) {
    if (!iequals(name, "accept")) return true;
    for_each_element(value, [&](std::string_view type) {
      wants = wants || iequals(type.substr(0, type.find(';')), "text/html");
    });
    return true;
  });
  return wants;
}

inline void respond_root(Exchange& x, const Page& page, std::string_view version) {
  x.add_header("Vary", "Accept");
  if (page.html.empty() || !wants_html(x.request())) {
    std::string body = "{\"name\":\"kyrodb\",\"version\":\"";
    body.append(version).append(
        "\",\"routes\":{\"value\":\"/v1/kv/{key}\",\"scan\":\"/v1/scan\",\"status\":"
        "\"/v1/status\",\"ready\":\"/ready\",\"metrics\":\"/metrics\"}}");
    return x.respond(200, kJsonType, body);
  }
  x.add_header("Content-Security-Policy", page.policy);
  x.add_header("Referrer-Policy", "no-referrer");
  x.add_header("Cache-Control", "no-cache");
  x.respond(200, "text/html; charset=utf-8", page.html);
}

}  // namespace kyro
