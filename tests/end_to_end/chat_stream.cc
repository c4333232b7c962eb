#include "tests/end_to_end/chat_stream.h"

#include "http/test_client.h"

namespace millrace {
namespace {

using nlohmann::json;

// Longer than the whole run takes under any sanitizer: a request of a small pool waits for most of
// it.
constexpr std::chrono::seconds kStreamPatience{240};

void TakeChunk(const json& chunk, ChatStream& stream) {
  if (chunk.contains("error")) {
    stream.error = chunk.dump();
    return;
  }
  if (chunk.contains("usage") && !chunk["usage"].is_null()) stream.usage = chunk["usage"];
  for (const json& choice : chunk["choices"]) {
    const json& delta = choice["delta"];
    if (delta.contains("role")) continue;
    ++stream.text_events;
    if (delta.contains("content")) stream.text += delta["content"].get<std::string>();
    if (choice["logprobs"].is_object()) {
      for (const json& token : choice["logprobs"]["content"]) stream.logprobs.push_back(token);
    }
    if (!choice["finish_reason"].is_null()) stream.finish_reason = choice["finish_reason"];
  }
}

// Takes the whole events out of `buffer`; stops at the cut.
void TakeEvents(std::string& buffer, ChatStream& stream, const std::optional<Cut>& cut) {
  for (size_t end = 0; (end = buffer.find("\n\n")) != std::string::npos;) {
    const std::string event = buffer.substr(0, end);
    buffer.erase(0, end + 2);
    if (event == "data: [DONE]") {
      stream.done = true;
    } else if (event.rfind("data: {", 0) == 0) {
      TakeChunk(json::parse(event.substr(6)), stream);
    } else {
      stream.error = "not an event: " + event;
    }
    if (cut && stream.text_events >= cut->events) return;
  }
}

void Leave(TestClient& client, const Cut& cut) {
  if (cut.reset) {
    client.Reset();
  } else {
    client.Close();
  }
}

}  // namespace

ChatStream StreamChat(uint16_t port, const json& body, std::optional<Cut> cut,
                      const std::function<void()>& on_head) {
  ChatStream stream;
  TestClient client(port, 0, kStreamPatience);
  const std::string text = body.dump();
  client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: " +
              std::to_string(text.size()) + "\r\n\r\n" + text);
  if (cut && cut->events == 0) {
    Leave(client, *cut);
    return stream;
  }
  const ClientResponse head = client.ReadHead();
  if (on_head) on_head();
  stream.status = head.status;
  if (head.status != 200) {
    stream.error = client.ReadUntil("}");
    return stream;
  }
  std::string buffer;
  for (bool ended = false; !ended;) {
    const std::string piece = client.ReadChunk(ended);
    if (piece.empty() && !ended) {
      stream.done = false;
      stream.error = "the connection broke: " + client.end();
      return stream;
    }
    buffer += piece;
    TakeEvents(buffer, stream, cut);
    if (cut && stream.text_events >= cut->events) {
      Leave(client, *cut);
      return stream;
    }
  }
  return stream;
}

}  // namespace millrace
