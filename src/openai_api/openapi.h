// /openapi.json (OpenAPI 3.1): generated from what the parsers read. A parser is run on an empty
// object, and every field that it asks for is noted with its type and range: so the document says
// what is validated, no more and no less. Fields that are objects or arrays have their inner shape
// from a list beside it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace millrace {

struct ApiRoute {
  std::string method;  // "POST"
  std::string path;    // "/v1/models/*": the rest of the path is a parameter
  bool needs_key = true;
};

std::string OpenApiJson(std::span<const ApiRoute> routes, std::string_view version);

}  // namespace millrace
