// What an HTTP handler sees and gives: plain data, no sockets.
//
// Invariant: an HttpRequest that reaches a handler is complete and well-formed: its path is
// percent-decoded, its body is within the server's limit. Response headers are ours; line breaks in
// their values are replaced when they are written.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

struct HttpHeader {
  std::string name;
  std::string value;
};

struct HttpRequest {
  std::string method;     // "GET"; as sent, so possibly one nobody knows
  std::string target;     // as sent: "/v1/models/a%2Fb?x=1"
  std::string path;       // percent-decoded, without the query: "/v1/models/a/b"
  std::string path_rest;  // what a pattern's trailing "/*" matched: "a/b"
  std::string query;      // raw, without the question mark
  std::vector<HttpHeader> headers;
  std::string body;
  std::string peer;  // the client's address, for logs: "127.0.0.1:40312"

  // The first header of that name, whatever its case.
  std::optional<std::string_view> Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<HttpHeader> headers;  // beside Content-Type, Content-Length, Connection, Date
};

// How the server words its own refusals (404, 405, 408, 413, 414, 431, ...); `target`: of the
// request, as far as it was read, which may be not at all.
using ErrorFormat =
    std::function<HttpResponse(int status, std::string_view message, std::string_view target)>;
HttpResponse PlainError(int status, std::string_view message, std::string_view target = {});

// "Not Found" for 404; "Unknown" for a number that has no name here.
std::string_view ReasonPhrase(int status);
// ASCII letters only: header names and tokens.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);
// Whether a comma-separated header value names `token`, whatever its case.
bool ListContains(std::string_view list, std::string_view token);
// Splits a target into path and query and percent-decodes the path. kInvalidArgument for a target
// that does not begin with a slash, a broken escape, or a NUL character.
Status ParseTarget(std::string_view target, HttpRequest& request);

}  // namespace millrace
