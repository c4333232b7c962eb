// Router: method and path -> handler. Knows what to say otherwise: 404 for an unknown path, with
// the known one that it has a beginning less or more than; 405 with Allow for a known path and
// another method, 204 with Allow for OPTIONS; HEAD is answered by the GET handler (the connection
// leaves the body out). Invariant: immutable while a server uses it.
#pragma once

#include <string>
#include <vector>

#include "http/message.h"
#include "http/responder.h"

namespace millrace {

class Router {
 public:
  explicit Router(ErrorFormat error_format = PlainError);

  // `pattern` is a path, or a path that ends in "/*", which matches one or more further characters
  // and puts them into HttpRequest::path_rest. Exact paths win over patterns; among patterns the
  // first added wins.
  void Add(std::string method, std::string pattern, HttpHandler handler);

  void operator()(HttpRequest request, Responder responder) const;

 private:
  struct Route {
    std::string method;
    std::string path;  // without the "*"
    bool open_ended = false;
    HttpHandler handler;
  };
  // The path that an unknown one may mean: without the "/v1" that it has, or with it. Or empty.
  std::string_view MeantBy(std::string_view path) const;

  ErrorFormat error_format_;
  std::vector<Route> routes_;
};

}  // namespace millrace
