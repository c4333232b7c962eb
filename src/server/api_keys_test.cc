#include "server/api_keys.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

// echo -n secret | sha256sum
constexpr char kSecretHash[] =
    "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

TEST(ApiKeysTest, AKeyIsKnownByItselfOrByItsHash) {
  const ApiKeys keys = ApiKeys::Plain({kSecretHash, "other"});
  const ApiKey* secret = keys.Find("Bearer secret", {});
  ASSERT_NE(secret, nullptr);
  EXPECT_EQ(secret->id, std::string(kSecretHash).substr(7));
  EXPECT_EQ(secret->name, "key-2bb80d537b1d");
  EXPECT_EQ(MakeApiKey("secret").hash, secret->hash);
  EXPECT_EQ(keys.Find({}, "secret"), secret);
  EXPECT_NE(keys.Find("bearer other", {}), nullptr);
  for (const char* wrong :
       {"Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret"}) {
    EXPECT_EQ(keys.Find(wrong, {}), nullptr) << wrong;
  }
  EXPECT_EQ(keys.Find({}, {}), nullptr);
  EXPECT_EQ(keys.Find({}, ""), nullptr);
  // The hash itself opens nothing.
  EXPECT_EQ(keys.Find(std::string("Bearer ") + kSecretHash, {}), nullptr);
  EXPECT_EQ(keys.Find("Bearer " + secret->id, {}), nullptr);
}

TEST(ApiKeysTest, AFileHasKeysAndTheirLimits) {
  const auto parsed = ParseKeyFile(
      std::string(
          "# keys\none\n\n two\tname=web requests-per-minute=60 tokens-per-minute=1000 \r\n") +
      kSecretHash + " concurrent=3 concurrent-tokens=4");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_EQ(parsed->size(), 3u);
  EXPECT_EQ((*parsed)[0].hash, HashOfKey("one"));
  EXPECT_EQ((*parsed)[0].limits.requests_per_minute, 0);
  EXPECT_EQ((*parsed)[1].hash, HashOfKey("two"));
  EXPECT_EQ((*parsed)[1].name, "web");
  EXPECT_EQ((*parsed)[1].limits.requests_per_minute, 60);
  EXPECT_EQ((*parsed)[1].limits.tokens_per_minute, 1000);
  EXPECT_EQ((*parsed)[2].hash, HashOfKey("secret"));
  EXPECT_EQ((*parsed)[2].limits.requests, 3);
  EXPECT_EQ((*parsed)[2].limits.tokens, 4);
}

TEST(ApiKeysTest, WrongLinesAreNamedWithoutTheKey) {
  for (const char* line :
       {"topsecret nonsense", "topsecret name=", "topsecret concurrent=x",
        "topsecret concurrent=-1", "topsecret requests-per-minute=99999999999999999999",
        "topsecret =3", "sha256:topsecret", "sha256:12"}) {
    const auto parsed = ParseKeyFile(std::string("fine\n") + line);
    ASSERT_FALSE(parsed.ok()) << line;
    EXPECT_NE(parsed.error().message.find("line 2"), std::string::npos) << parsed.error().message;
    EXPECT_EQ(parsed.error().message.find("topsecret"), std::string::npos);
  }
}

TEST(ApiKeysTest, Loopback) {
  EXPECT_TRUE(IsLoopback("127.0.0.1"));
  EXPECT_TRUE(IsLoopback("::1"));
  EXPECT_FALSE(IsLoopback("0.0.0.0"));
}

}  // namespace
}  // namespace millrace
