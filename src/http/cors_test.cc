// Web pages are kept out unless their origin is named.
#include "http/server_test_util.h"

namespace millrace {
namespace {

constexpr char kPreflight[] =
    "OPTIONS /echo HTTP/1.1\r\nHost: t\r\nOrigin: https://app.example\r\n"
    "Access-Control-Request-Method: POST\r\n"
    "Access-Control-Request-Headers: authorization, content-type\r\n\r\n";

TEST_F(HttpServerTest, NoAnswerSpeaksOfOriginsUnlessSomeAreAllowed) {
  StartServer();
  TestClient client(port());
  const ClientResponse hello = client.Get("/hello", "Origin: https://app.example\r\n");
  EXPECT_EQ(hello.status, 200);
  client.Send(kPreflight);
  const ClientResponse preflight = client.ReadResponse();
  for (const ClientResponse& response : {hello, preflight}) {
    for (const auto& [name, value] : response.headers) {
      EXPECT_NE(name.rfind("access-control", 0), 0u) << name;
    }
    EXPECT_FALSE(response.headers.count("vary"));
  }
}

TEST_F(HttpServerTest, PagesOfAllowedOriginsMayRead) {
  HttpConfig config;
  config.allowed_origins = {"https://app.example", "http://localhost:3000"};
  StartServer(config);
  TestClient client(port());
  const auto allowed = [](const ClientResponse& response) {
    const auto found = response.headers.find("access-control-allow-origin");
    return found == response.headers.end() ? "" : found->second;
  };
  EXPECT_EQ(allowed(client.Get("/hello", "Origin: http://localhost:3000\r\n")),
            "http://localhost:3000");
  EXPECT_EQ(allowed(client.Get("/nothing", "Origin: https://app.example\r\n")),
            "https://app.example");  // errors, too
  client.Send(kPreflight);
  const ClientResponse preflight = client.ReadResponse();
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(allowed(preflight), "https://app.example");
  EXPECT_EQ(preflight.headers.at("access-control-allow-headers"), "authorization, content-type");
  EXPECT_NE(preflight.headers.at("access-control-allow-methods").find("POST"), std::string::npos);
  for (const char* other : {"https://app.example.evil", "https://evil", "null",
                            "http://app.example", "https://app.example:444"}) {
    const ClientResponse response = client.Get("/hello", std::string("Origin: ") + other + "\r\n");
    EXPECT_EQ(allowed(response), "") << other;
    EXPECT_EQ(response.headers.at("vary"), "Origin");
  }
  // The next request of the connection has no origin.
  EXPECT_EQ(allowed(client.Get("/hello")), "");
}

TEST_F(HttpServerTest, AStarAllowsAnyOriginWithoutCredentials) {
  HttpConfig config;
  config.allowed_origins = {"*"};
  StartServer(config);
  const ClientResponse response =
      TestClient(port()).Get("/hello", "Origin: https://any.example\r\n");
  EXPECT_EQ(response.headers.at("access-control-allow-origin"), "https://any.example");
  EXPECT_FALSE(response.headers.count("access-control-allow-credentials"));
}

}  // namespace
}  // namespace millrace
