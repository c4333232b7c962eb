// Over a bound: who is refused, and what he is told.
#include "server/request_context.h"
#include "server/server_test_util.h"

namespace millrace {
namespace {

class OverloadServerTest : public ServerTest {
 protected:
  // A request that keeps a place for long, straight to the engine.
  RequestId Occupy() {
    Request request;
    request.prompt = {TokenId(1)};
    request.max_tokens = 2000;
    const auto id = engine_->Submit(request, [](const Event&) {});
    EXPECT_TRUE(id.ok());
    return id.ok() ? *id : RequestId();
  }
  void WaitFor(const std::function<bool(const EngineStats&)>& state) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!state(engine_->stats())) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "waited in vain";
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
};

TEST_F(OverloadServerTest, AFullQueueSaysWhenToComeBack) {
  max_running_ = 1;
  max_queue_ = 1;
  StartServer({}, milliseconds(10));
  const RequestId running = Occupy();
  WaitFor([](const EngineStats& s) { return s.running == 1 && s.waiting == 0; });
  const RequestId waiting = Occupy();
  const ClientResponse refused = Post(kChatPath, Chat());
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(json::parse(refused.body)["error"]["code"], "overloaded");
  ASSERT_TRUE(refused.headers.contains("retry-after"));
  EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 1);
  engine_->Cancel(running);
  engine_->Cancel(waiting);
  WaitFor([](const EngineStats& s) { return s.running + s.waiting == 0; });
  EXPECT_EQ(Post(kChatPath, Chat()).status, 200);
}

TEST_F(OverloadServerTest, AKeyHasALimitOfItsOwn) {
  max_running_ = 1;
  ServerConfig config;
  config.keys = ApiKeys::Plain({"one", "two"});
  config.max_requests_per_key = 1;
  StartServer(std::move(config), milliseconds(2));
  const RequestId running = Occupy();
  WaitFor([](const EngineStats& s) { return s.running == 1; });
  std::thread first(
      [&] { EXPECT_EQ(Post(kChatPath, Chat(), "Authorization: Bearer one\r\n").status, 200); });
  WaitFor([](const EngineStats& s) { return s.waiting == 1; });
  // However the scheme is written.
  for (const char* header : {"Authorization: Bearer one\r\n", "Authorization: bEARER one\r\n"}) {
    const ClientResponse refused = Post(kChatPath, Chat(), header);
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(json::parse(refused.body)["error"]["code"], "rate_limit_exceeded");
    EXPECT_TRUE(refused.headers.contains("retry-after"));
  }
  engine_->Cancel(running);
  EXPECT_EQ(Post(kChatPath, Chat(), "Authorization: Bearer two\r\n").status, 200);
  first.join();
  for (int i = 0; i < 5; ++i) {  // the place is free again when the answer is there
    EXPECT_EQ(Post(kChatPath, Chat(), "Authorization: Bearer one\r\n").status, 200);
  }
}

TEST_F(OverloadServerTest, ADeadlineThatPassesIsAClearError) {
  max_running_ = 1;
  StartServer({}, milliseconds(5));
  const RequestId running = Occupy();
  WaitFor([](const EngineStats& stats) { return stats.running == 1; });
  json limited = Chat(5);
  limited["millrace"] = {{"deadline_ms", 100}, {"priority", "high"}};
  const ClientResponse late = Post(kChatPath, limited);
  EXPECT_EQ(late.status, 504);
  const json error = json::parse(late.body)["error"];
  EXPECT_EQ(error["code"], "deadline_exceeded");
  EXPECT_NE(error["message"].get<std::string>().find("deadline"), std::string::npos);
  WaitFor([](const EngineStats& stats) { return stats.expired == 1; });
  engine_->Cancel(running);
}

TEST_F(OverloadServerTest, AStreamThatOutlivesItsDeadlineEndsWithAnError) {
  StartServer({}, milliseconds(5));
  json limited = Chat(400);
  limited["stream"] = true;
  limited["millrace"] = {{"deadline_ms", 200}};
  const ClientResponse cut = Post(kChatPath, limited);
  EXPECT_EQ(cut.status, 200);
  const std::vector<std::string> events = EventsOf(cut.body);
  ASSERT_GT(events.size(), 2u);
  EXPECT_EQ(json::parse(events.back())["error"]["code"], "deadline_exceeded");
}

TEST(RetryAfterTest, WholeSecondsInBounds) {
  const auto stated = [](Duration time) {
    for (const HttpHeader& h :
         server_internal::ErrorResponse(HttpApiError(503, "x"), time).headers) {
      if (h.name == "Retry-After") return h.value;
    }
    return std::string("none");
  };
  EXPECT_EQ(stated(milliseconds(2500)), "3");
  EXPECT_EQ(stated(milliseconds(0)), "1");
  EXPECT_EQ(stated(std::chrono::hours(5)), "600");
}

}  // namespace
}  // namespace millrace
