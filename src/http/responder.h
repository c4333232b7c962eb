// Responder: the one answer to one request, given from any thread.
//
// Invariant: exactly one answer leaves: either a whole response (Send) or an event stream
// (StartEventStream, SendEvent any number of times, Close). When the last copy of a Responder dies
// without an answer, the client gets a 500; when it dies with an open stream, the connection is
// closed without the stream's end, so the client sees that it is incomplete.
//
// Memory is bounded: what a slow client has not read yet waits here up to the server's
// stream_buffer_limit; past it the stream is cut and the disconnect callback fires, as if the
// client had gone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace millrace {

class Exchange;

class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange);

  // The whole answer. False when it was answered already or the connection is closed. A client that
  // only shut down its sending side still gets it.
  bool Send(HttpResponse response) const;

  // Server-sent events: 200 with text/event-stream and `headers`. False when answered already or
  // the client has gone.
  bool StartEventStream(std::vector<HttpHeader> headers = {}) const;
  // One event: "data: ..." for each line of `data`, with "event: ..." before them where it has a
  // name, of one line. False when the stream is not open or the client has gone.
  bool SendEvent(std::string_view data, std::string_view name = {}) const;
  // A comment line, which clients ignore: keeps proxies from closing a quiet stream.
  bool SendComment(std::string_view text) const;
  // The proper end of the stream. False when it was not open. `trailers` reach those clients that
  // ask for such ("TE: trailers").
  bool Close(std::vector<HttpHeader> trailers = {}) const;

  // `callback` runs at most once, when the client goes away (or stalls past a limit) before the
  // answer is complete; on an I/O thread, or at once on this thread when that has happened already.
  // It must be quick and must not throw. It is dropped when the answer is complete. A second
  // callback replaces the first.
  void OnDisconnect(std::function<void()> callback) const;
  bool disconnected() const;

 private:
  struct Handle;  // abandons the exchange when the last copy goes
  std::shared_ptr<Handle> handle_;
};

// A handler runs on an I/O thread: it must not block. It may answer at once, or keep the Responder
// and answer later.
using HttpHandler = std::function<void(HttpRequest, Responder)>;

}  // namespace millrace
