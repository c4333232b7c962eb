#include "server/host_check.h"

#include <gtest/gtest.h>

#include "server/server_test_util.h"

namespace millrace::server_internal {
namespace {

TEST(HostCheck, NamesThatNobodyCanRegister) {
  for (const char* own : {"localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "millrace",
                          "a.localhost:1", "NAS.Local", "box.internal", "x.home.arpa", "", "tv."}) {
    EXPECT_TRUE(MayBeAskedAs(own, {})) << own;
  }
  for (const char* foreign :
       {"evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
        "evillocalhost.example", "evil.example.", ".local", "1.2.3.4.5", "a.b"}) {
    EXPECT_FALSE(MayBeAskedAs(foreign, {})) << foreign;
  }
  const std::vector<std::string> allowed = {"api.example"};
  EXPECT_TRUE(MayBeAskedAs("API.example:443", allowed));
  EXPECT_FALSE(MayBeAskedAs("x.api.example", allowed));
  const std::vector<std::string> any = {"*"};
  EXPECT_TRUE(MayBeAskedAs("evil.example", any));
}

using HostServerTest = ServerTest;

std::string GetAs(const std::string& host, const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

TEST_F(HostServerTest, AForeignNameIsRefusedWithoutKeys) {
  StartServer();
  TestClient client(port());
  client.Send(GetAs("evil.example", "/v1/models"));
  const ClientResponse refused = client.ReadResponse();
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("--allowed-host"), std::string::npos);
  client.Send(GetAs("evil.example", "/health/live"));
  EXPECT_EQ(client.ReadResponse().status, 200);
  client.Send(GetAs("localhost:1234", "/v1/models"));
  EXPECT_EQ(client.ReadResponse().status, 200);
}

TEST_F(HostServerTest, KeysAndAllowedNamesLetItIn) {
  ServerConfig config;
  config.allowed_hosts = {"api.example"};
  StartServer(std::move(config));
  TestClient client(port());
  client.Send(GetAs("api.example", "/v1/models"));
  EXPECT_EQ(client.ReadResponse().status, 200);
}

}  // namespace
}  // namespace millrace::server_internal
