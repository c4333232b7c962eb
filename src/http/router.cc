#include "http/router.h"

#include <string_view>
#include <utility>

namespace millrace {

Router::Router(ErrorFormat error_format) : error_format_(std::move(error_format)) {}

void Router::Add(std::string method, std::string pattern, HttpHandler handler) {
  Route route{std::move(method), std::move(pattern), false, std::move(handler)};
  if (route.path.ends_with("/*")) {
    route.path.pop_back();
    route.open_ended = true;
  }
  routes_.push_back(std::move(route));
}

std::string_view Router::MeantBy(std::string_view path) const {
  std::string_view meant;
  for (const Route& route : routes_) {
    const std::string_view known = route.path;
    if (route.open_ended || known.size() < 2 || path.size() < 2) continue;
    if ((known.ends_with(path) || path.ends_with(known)) && known.size() > meant.size()) {
      meant = known;
    }
  }
  return meant;
}

void Router::operator()(HttpRequest request, Responder responder) const {
  const std::string_view path = request.path;
  const std::string_view method =
      request.method == "HEAD" ? "GET" : std::string_view(request.method);
  // The path decides first, so that a wrong method on an exact path never falls through to a
  // pattern.
  std::string_view matched;
  for (const Route& route : routes_) {
    if (!route.open_ended && route.path == path) matched = route.path;
  }
  if (matched.empty()) {
    for (const Route& route : routes_) {
      if (route.open_ended && path.size() > route.path.size() && path.starts_with(route.path)) {
        matched = route.path;
        request.path_rest = std::string(path.substr(matched.size()));
        break;
      }
    }
  }
  if (matched.empty()) {
    std::string message = "There is nothing at " + request.path;
    if (const std::string_view meant = MeantBy(path); !meant.empty()) {
      message.append("; is it ").append(meant).append(" that you want?");
    } else {
      message += '.';
    }
    responder.Send(error_format_(404, message, request.path));
    return;
  }
  std::string allow;
  for (const Route& route : routes_) {
    if (route.path != matched) continue;
    if (route.method == method) {
      route.handler(std::move(request), std::move(responder));
      return;
    }
    allow += route.method + (route.method == "GET" ? ", HEAD, " : ", ");
  }
  allow += "OPTIONS";
  HttpResponse response;
  if (method == "OPTIONS") {
    response.status = 204;
  } else {
    response = error_format_(405,
                             "The method " + request.method + " is not allowed at " + request.path +
                                 ". Allowed: " + allow + ".",
                             request.path);
  }
  response.headers.push_back({"Allow", allow});
  responder.Send(std::move(response));
}

}  // namespace millrace
