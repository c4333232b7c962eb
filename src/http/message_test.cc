#include "http/message.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "http/exchange.h"
#include "http/responder.h"

namespace millrace {
namespace {

TEST(ParseTarget, SplitsAndDecodes) {
  HttpRequest request;
  ASSERT_TRUE(ParseTarget("/v1/models/a%2Fb%20c?x=%31&y", request).ok());
  EXPECT_EQ(request.path, "/v1/models/a/b c");
  EXPECT_EQ(request.query, "x=%31&y");
  EXPECT_EQ(request.target, "/v1/models/a%2Fb%20c?x=%31&y");
}

TEST(ParseTarget, RefusesWhatIsNoPath) {
  HttpRequest request;
  for (const char* bad : {"", "*", "http://host/", "a/b", "/%", "/%2", "/%zz", "/a%00b"}) {
    EXPECT_FALSE(ParseTarget(bad, request).ok()) << bad;
  }
}

TEST(ListContains, ComparesTokensWhateverTheirCase) {
  EXPECT_TRUE(ListContains("keep-alive, Close", "close"));
  EXPECT_TRUE(ListContains(" a ", "A"));
  EXPECT_FALSE(ListContains("closed,xclose", "close"));
  EXPECT_FALSE(ListContains("", "close"));
}

TEST(Exchange, OneAnswerOnly) {
  auto exchange = std::make_shared<Exchange>(1000, [] {});
  Responder responder(exchange);
  EXPECT_TRUE(responder.Send(PlainError(404, "no")));
  EXPECT_FALSE(responder.Send(HttpResponse()));
  EXPECT_FALSE(responder.StartEventStream());
  EXPECT_FALSE(responder.SendEvent("x"));
  EXPECT_EQ(exchange->Take().whole->status, 404);
}

TEST(Exchange, EventsAreFramedLineByLine) {
  auto exchange = std::make_shared<Exchange>(1000, [] {});
  Responder responder(exchange);
  EXPECT_TRUE(responder.StartEventStream());
  EXPECT_TRUE(responder.SendEvent("a\nb"));
  EXPECT_TRUE(responder.SendComment("still\nhere"));
  EXPECT_TRUE(responder.Close());
  EXPECT_FALSE(responder.SendEvent("late"));
  const Exchange::Output output = exchange->Take();
  EXPECT_EQ(output.stream_head->content_type, "text/event-stream");
  EXPECT_EQ(output.bytes, "data: a\ndata: b\n\n: still here\n\n");
  EXPECT_TRUE(output.stream_finished);
  EXPECT_FALSE(output.failed);
}

TEST(Exchange, AbandonedAnswersFail) {
  auto unanswered = std::make_shared<Exchange>(1000, [] {});
  { Responder gone(unanswered); }
  EXPECT_EQ(unanswered->Take().whole->status, 500);
  auto streaming = std::make_shared<Exchange>(1000, [] {});
  {
    Responder gone(streaming);
    gone.StartEventStream();
  }
  const Exchange::Output output = streaming->Take();
  EXPECT_TRUE(output.failed);
  EXPECT_FALSE(output.stream_finished);
}

TEST(Exchange, MemoryOfAStalledStreamIsBounded) {
  int wakes = 0;
  auto exchange = std::make_shared<Exchange>(1000, [&] { ++wakes; });
  Responder responder(exchange);
  EXPECT_TRUE(exchange->Take().empty());  // the connection waits
  responder.StartEventStream();
  int sent = 0;
  while (responder.SendEvent(std::string(92, 'x'))) ++sent;
  EXPECT_EQ(sent, 10);
  EXPECT_EQ(wakes, 2);  // the first event, and the overflow: nothing was taken meanwhile
  const Exchange::Output output = exchange->Take();
  EXPECT_TRUE(output.failed);
  EXPECT_TRUE(output.bytes.empty());
}

TEST(Exchange, WakesOnlyOneThatFoundNothing) {
  int wakes = 0;
  auto exchange = std::make_shared<Exchange>(1000, [&] { ++wakes; });
  Responder responder(exchange);
  responder.StartEventStream();
  responder.SendEvent("a");
  EXPECT_EQ(wakes, 0);  // the connection has not looked yet
  EXPECT_FALSE(exchange->Take().empty());
  responder.SendEvent("b");
  EXPECT_EQ(wakes, 0);  // it writes, and will look again
  EXPECT_FALSE(exchange->Take().empty());
  EXPECT_TRUE(exchange->Take().empty());
  responder.SendEvent("c");
  responder.SendEvent("d");
  EXPECT_EQ(wakes, 1);
}

TEST(Exchange, DisconnectCallbackRunsOnceAndIsDroppedWhenComplete) {
  int calls = 0;
  auto exchange = std::make_shared<Exchange>(1000, [] {});
  Responder responder(exchange);
  responder.OnDisconnect([&] { ++calls; });
  exchange->Disconnect();
  exchange->Disconnect();
  EXPECT_EQ(calls, 1);
  responder.OnDisconnect([&] { ++calls; });  // late: at once
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(responder.StartEventStream());
  EXPECT_TRUE(responder.Send(HttpResponse()));  // a half-closed client still gets it

  auto held = std::make_shared<int>(1);
  auto complete = std::make_shared<Exchange>(1000, [] {});
  complete->OnDisconnect([held] {});
  EXPECT_EQ(held.use_count(), 2);
  complete->Complete();
  EXPECT_EQ(held.use_count(), 1);
  complete->OnDisconnect([held] {});
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Exchange, ManyProducersLoseNothing) {
  auto exchange = std::make_shared<Exchange>(10'000'000, [] {});
  Responder responder(exchange);
  responder.StartEventStream();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) responder.SendEvent("abc");
    });
  }
  size_t bytes = 0;
  for (int i = 0; i < 1000; ++i) bytes += exchange->Take().bytes.size();
  for (auto& thread : threads) thread.join();
  bytes += exchange->Take().bytes.size();
  EXPECT_EQ(bytes, 4000 * std::string("data: abc\n\n").size());
}

}  // namespace
}  // namespace millrace
