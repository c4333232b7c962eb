// The real binary over TLS: an answer, a stream, a client that leaves, a new certificate, refusals.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/sanitizer_for_test.h"
#include "http/test_client.h"
#include "http/tls_test_util.h"
#include "tests/end_to_end/server_process.h"

namespace millrace {
namespace {

class TlsServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    files_ = MakeCertificate("service");
    make_client_transport = [this](int fd) {
      auto transport = std::make_unique<TlsTransport>(fd);
      transport_ = transport.get();
      return transport;
    };
  }
  void TearDown() override { make_client_transport = nullptr; }
  std::vector<std::string> Flags() const {
    return {"--tls-cert", files_.certificate, "--tls-key", files_.key};
  }
  static std::string Body(int tokens, bool stream) {
    return R"({"messages":[{"role":"user","content":"Hello"}],"ignore_eos":true,"temperature":0,)"
           R"("max_tokens":)" +
           std::to_string(tokens) + R"(,"stream":)" + (stream ? "true}" : "false}");
  }

  TlsFiles files_;
  TlsTransport* transport_ = nullptr;
};

int64_t ResidentBytesOf(pid_t process) {
  std::ifstream statm("/proc/" + std::to_string(process) + "/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

constexpr char kRoute[] = "/v1/chat/completions";

TEST_F(TlsServiceTest, AnswersAndStreamsAndNoticesWhoLeaves) {
  ServerProcess server(MILLRACE_BINARY, Flags());
  ASSERT_NE(server.port(), 0);
  EXPECT_NE(server.FirstLine("https://127.0.0.1:"), "");
  TestClient client(server.port());
  const ClientResponse whole = client.Post(kRoute, Body(8, false));
  EXPECT_EQ(whole.status, 200);
  EXPECT_NE(whole.body.find("\"finish_reason\":\"length\""), std::string::npos) << whole.body;
  const ClientResponse stream = client.Post(kRoute, Body(8, true));
  EXPECT_TRUE(stream.complete);
  EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n")) << stream.body;
  {
    TestClient leaver(server.port());
    const std::string body = Body(3000, true);
    leaver.Send("POST " + std::string(kRoute) + " HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_EQ(leaver.ReadHead().status, 200);
  }
  EXPECT_TRUE(Eventually([&] { return server.Count({"end=cancelled"}) == 1; }));
  server.Terminate();
  EXPECT_EQ(server.WaitForExit(), 0);
}

TEST_F(TlsServiceTest, AHangupReadsTheCertificateAnew) {
  ServerProcess server(MILLRACE_BINARY, Flags());
  ASSERT_NE(server.port(), 0);
  TestClient before(server.port());
  const std::string old_one = transport_->fingerprint();
  const TlsFiles other = MakeCertificate("service-other");
  const auto replace = std::filesystem::copy_options::overwrite_existing;
  std::filesystem::copy_file(other.certificate, files_.certificate, replace);
  ::kill(server.id(), SIGHUP);
  EXPECT_TRUE(Eventually([&] { return server.Count({"stays the old one", "belong"}) == 1; }));
  TestClient meanwhile(server.port());
  EXPECT_EQ(transport_->fingerprint(), old_one);
  std::filesystem::copy_file(other.key, files_.key, replace);
  ::kill(server.id(), SIGHUP);
  EXPECT_TRUE(Eventually([&] { return server.Count({"was read anew"}) == 1; }));
  TestClient after(server.port());
  EXPECT_NE(transport_->fingerprint(), old_one);
  EXPECT_EQ(after.Get("/health/ready").status, 200);
  EXPECT_EQ(before.Get("/health/ready").status, 200);
}

TEST_F(TlsServiceTest, FilesThatDoNotFitEndItWithASentence) {
  const std::vector<std::string> flags[] = {
      {"--tls-cert", files_.certificate},
      {"--tls-cert", files_.certificate, "--tls-key", "/nowhere.key"},
      {"--tls-cert", files_.certificate, "--tls-key", MakeCertificate("service-other").key}};
  const std::string says[] = {"belong together", "/nowhere.key", "does not belong"};
  const int codes[] = {2, 1, 2};  // wrong usage, or a file that cannot be read
  for (size_t i = 0; i < 3; ++i) {
    ServerProcess server(MILLRACE_BINARY, flags[i]);
    EXPECT_EQ(server.port(), 0);
    EXPECT_EQ(server.WaitForExit(), codes[i]);
    EXPECT_NE(server.FirstLine(says[i]), "") << says[i];
  }
}

TEST_F(TlsServiceTest, AKeyThatAllMayReadIsAWarning) {
  namespace fs = std::filesystem;
  fs::permissions(files_.key, fs::perms::others_read, fs::perm_options::add);
  ServerProcess server(MILLRACE_BINARY, Flags());
  ASSERT_NE(server.port(), 0);
  EXPECT_TRUE(Eventually([&] { return server.Count({"chmod o=", files_.key}) == 1; }));
}

// A connection that has had an answer and waits: its memory in the server, the most that a client
// holds without sending anything.
TEST_F(TlsServiceTest, IdleConnectionsAreSmall) {
  constexpr int kConnections = 500;
  for (const bool tls : {true, false}) {
    ServerProcess server(MILLRACE_BINARY, tls ? Flags() : std::vector<std::string>());
    ASSERT_NE(server.port(), 0);
    if (!tls) make_client_transport = nullptr;
    std::vector<std::unique_ptr<TestClient>> clients;
    const auto add = [&] {
      clients.push_back(std::make_unique<TestClient>(server.port()));
      EXPECT_EQ(clients.back()->Get("/health/live").status, 200);
    };
    for (int i = 0; i < 50; ++i) add();  // what is made once
    const int64_t before = ResidentBytesOf(server.id());
    for (int i = 0; i < kConnections; ++i) add();
    const int64_t each = (ResidentBytesOf(server.id()) - before) / kConnections;
    std::printf("an idle %s connection: %.1f KiB\n", tls ? "TLS" : "plain",
                static_cast<double>(each) / 1024);
    if (!kUnderSanitizer) {
      EXPECT_LT(each, 48 * 1024);  // 36 of TLS, 9 without; the goal is 64
    }
  }
}

}  // namespace
}  // namespace millrace
