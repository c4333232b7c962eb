// One streamed chat request from a client's side, and everything that its tokens are.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace millrace {

// What the client saw. Two answers are the same when text, logprobs and finish_reason are: the
// logprobs as the server wrote them, which for a float is exact.
struct ChatStream {
  int status = 0;
  std::string text;
  std::vector<nlohmann::json> logprobs;  // one entry a token, where asked for
  std::string finish_reason;
  nlohmann::json usage;
  bool done = false;    // the success marker came, and then the end of the stream
  std::string error;    // what else came
  int text_events = 0;  // events that carried text, logprobs or the finish
};

// How a client leaves early: after `events` events with text, in order or with a reset.
struct Cut {
  int events = 0;
  bool reset = false;
};

// Posts `body` (with "stream": true in it) and reads to the end, or to the cut. `on_head` is called
// once, when the server has accepted or refused the request.
ChatStream StreamChat(uint16_t port, const nlohmann::json& body, std::optional<Cut> cut = {},
                      const std::function<void()>& on_head = {});

}  // namespace millrace
