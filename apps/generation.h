// One request through an engine on the calling thread: what `run` and the tests of the command line
// use.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace millrace {

struct Generated {
  std::vector<TokenId> ids;  // what the model produced, a stop token included
  FinishInfo finish;
};

// Steps `engine` until the request ends. `on_token` sees each token as it comes and returns whether
// to go on.
Result<Generated> Generate(Engine& engine, Request request,
                           const std::function<bool(TokenId)>& on_token);

}  // namespace millrace
