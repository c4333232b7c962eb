// TLS itself. That all of HTTP holds over it, too, is http_tls_test: the other tests once more.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "http/server_test_util.h"
#include "http/tls_context.h"

namespace millrace {
namespace {

class TlsTest : public HttpServerTest {
 protected:
  void SetUp() override {
    before_ = std::exchange(make_client_transport, nullptr);  // each test says what it wants
    files_ = MakeCertificate("own");
    config_.tls = files_;
  }
  void TearDown() override {
    HttpServerTest::TearDown();
    make_client_transport = before_;
  }
  // Clients from now on; the last one's transport can be looked at.
  void ClientsUseTls(int newest = 0) {
    make_client_transport = [this, newest](int fd) {
      auto transport = std::make_unique<TlsTransport>(fd, newest);
      transport_ = transport.get();
      return transport;
    };
  }

  std::function<std::unique_ptr<ClientTransport>(int)> before_;
  TlsFiles files_;
  HttpConfig config_;
  TlsTransport* transport_ = nullptr;
};

TEST_F(TlsTest, AnswersAndKeepsTheConnection) {
  StartServer(config_);
  ClientsUseTls();
  TestClient client(port());
  EXPECT_EQ(transport_->version(), "TLSv1.3");
  EXPECT_EQ(client.Get("/hello").body, "hello");
  const std::string large(5'000'000, 'x');
  EXPECT_EQ(client.Post("/echo", large).body, large);
  EXPECT_EQ(client.Get("/hello").body, "hello");
}

TEST_F(TlsTest, TheEndIsAnnouncedUnlessAStreamBroke) {
  StartServer(config_);
  ClientsUseTls();
  TestClient client(port());
  EXPECT_EQ(client.Get("/hello", "Connection: close\r\n").status, 200);
  EXPECT_TRUE(client.EndsWithClose());
  EXPECT_TRUE(transport_->said_goodbye());

  TestClient broken(port());
  broken.Send("GET /hold HTTP/1.0\r\nHost: t\r\n\r\n");  // no chunks: the end is all that tells
  {
    const Responder responder = Held();
    EXPECT_TRUE(responder.StartEventStream());
    EXPECT_TRUE(responder.SendEvent("half"));
    EXPECT_NE(broken.ReadUntil("half\n\n"), "");
  }
  EXPECT_TRUE(broken.EndsWithClose());
  EXPECT_FALSE(transport_->said_goodbye());
}

TEST_F(TlsTest, OldVersionsAreRefused) {
  StartServer(config_);
  ClientsUseTls(TLS1_2_VERSION);
  {
    TestClient client(port());
    EXPECT_EQ(transport_->version(), "TLSv1.2");
    EXPECT_EQ(client.Get("/hello").body, "hello");
  }
  ClientsUseTls(TLS1_1_VERSION);
  TestClient client(port());
  EXPECT_FALSE(transport_->established());
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(TlsTest, PlainHttpIsToldSo) {
  StartServer(config_);
  TestClient client(port());
  const ClientResponse response = client.Get("/hello");
  EXPECT_EQ(response.status, 400);
  EXPECT_NE(response.body.find("https://"), std::string::npos) << response.body;
  EXPECT_TRUE(client.EndsWithClose());
  // What is neither is closed, too, whether it ends or not.
  TestClient garbage(port());
  garbage.Send(std::string(100'000, '\x17'));
  EXPECT_TRUE(garbage.EndsWithClose());
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(TlsTest, AHandshakeThatStallsIsCutInTime) {
  config_.header_time = milliseconds(300);
  StartServer(config_);
  TestClient silent(port());
  TestClient half(port());
  half.Send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));  // of a hello
  EXPECT_TRUE(silent.EndsWithClose());
  EXPECT_TRUE(half.EndsWithClose());
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(TlsTest, ARequestThatStallsIsToldSo) {
  config_.header_time = milliseconds(300);
  StartServer(config_);
  ClientsUseTls();
  TestClient client(port());
  client.Send("GET /hel");
  EXPECT_EQ(client.ReadResponse().status, 408);
  EXPECT_TRUE(client.EndsWithClose());
}

TEST_F(TlsTest, StoppingEndsIdleConnectionsAndLetsAnswersFinish) {
  StartServer(config_);
  ClientsUseTls();
  TestClient idle(port());
  EXPECT_EQ(idle.Get("/hello").status, 200);
  TestClient busy(port());
  busy.Send(kHold);
  const Responder responder = Held();
  std::thread stopper([this] { EXPECT_TRUE(server_->Stop(std::chrono::seconds(20))); });
  EXPECT_TRUE(idle.EndsWithClose());
  EXPECT_TRUE(responder.Send(HttpResponse{200, "text/plain", "late", {}}));
  EXPECT_EQ(busy.ReadResponse().body, "late");
  busy.Close();
  stopper.join();
}

TEST_F(TlsTest, ACertificateCanBeReplaced) {
  StartServer(config_);
  ClientsUseTls();
  TestClient before(port());
  const std::string old_one = transport_->fingerprint();
  const TlsFiles other = MakeCertificate("other");
  const auto replace = std::filesystem::copy_options::overwrite_existing;
  std::filesystem::copy_file(other.certificate, files_.certificate, replace);
  const Status half = server_->ReloadTls();  // the key is the old one
  EXPECT_FALSE(half.ok());
  TestClient meanwhile(port());
  EXPECT_EQ(transport_->fingerprint(), old_one);
  std::filesystem::copy_file(other.key, files_.key, replace);
  EXPECT_TRUE(server_->ReloadTls().ok());
  TestClient after(port());
  EXPECT_NE(transport_->fingerprint(), old_one);
  EXPECT_EQ(after.Get("/hello").status, 200);
  EXPECT_EQ(before.Get("/hello").status, 200);
}

TEST_F(TlsTest, FilesThatDoNotFitAreErrorsThatNameThem) {
  const TlsFiles other = MakeCertificate("other");
  const std::string empty = testing::TempDir() + "millrace-empty.pem";
  const std::string locked = testing::TempDir() + "millrace-locked.key";
  std::ofstream(empty).close();
  const std::string lock =
      "openssl pkey -aes256 -passout pass:x -in " + files_.key + " -out " + locked;
  ASSERT_EQ(std::system(lock.c_str()), 0);
  const struct {
    TlsFiles files;
    std::string named, says;
  } cases[] = {
      {{"/nowhere.crt", files_.key}, "/nowhere.crt", "cannot read"},
      {{files_.certificate, "/nowhere.key"}, "/nowhere.key", "cannot read"},
      {{empty, files_.key}, empty, "no certificate"},
      {{files_.key, files_.key}, files_.key, "no certificate"},
      {{files_.certificate, empty}, empty, "no private key"},
      {{files_.certificate, files_.certificate}, files_.certificate, "no private key"},
      {{files_.certificate, locked}, locked, "encrypted"},
      {{files_.certificate, other.key}, other.key, "does not belong"},
  };
  for (const auto& one : cases) {
    const auto context = http_internal::MakeTlsContext(one.files);
    ASSERT_FALSE(context.ok()) << one.says;
    EXPECT_NE(context.error().message.find(one.named), std::string::npos)
        << context.error().message;
    EXPECT_NE(context.error().message.find(one.says), std::string::npos) << context.error().message;
  }
}

TEST_F(TlsTest, WarnsOfAKeyThatOthersReadAndOfDates) {
  const auto now = std::chrono::system_clock::now();
  const std::chrono::hours day(24);
  ::chmod(files_.key.c_str(), 0600);
  EXPECT_TRUE(TlsWarnings(files_, now).empty());
  EXPECT_EQ(TlsWarnings(files_, now + 20 * day).size(), 1u);  // of 30
  const auto expired = TlsWarnings(files_, now + 31 * day);
  ASSERT_EQ(expired.size(), 1u);
  EXPECT_NE(expired[0].find("expired"), std::string::npos);
  EXPECT_NE(TlsWarnings(files_, now - 2 * day).at(0).find("not valid yet"), std::string::npos);
  ::chmod(files_.key.c_str(), 0644);
  const auto open = TlsWarnings(files_, now);
  ASSERT_EQ(open.size(), 1u);
  EXPECT_NE(open[0].find("chmod"), std::string::npos);
}

}  // namespace
}  // namespace millrace
