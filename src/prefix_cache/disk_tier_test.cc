#include "prefix_cache/disk_tier.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "paged_kv/block_pool.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBytes = 1000;
constexpr int64_t kFileBytes = kBytes + 56 + 4 * kBlockTokens;

Digest Chain(int i) {
  const std::string text = "chain " + std::to_string(i);
  return Sha256().AddAll(std::span<const char>(text)).Finish();
}
std::vector<TokenId> BlockTokens(int i) {
  std::vector<TokenId> tokens;
  for (int32_t t = 0; t < kBlockTokens; ++t) tokens.push_back(TokenId(1000 * i + t));
  return tokens;
}
std::vector<std::byte> Block(int i) {
  std::vector<std::byte> block;
  CounterRng rng(static_cast<uint64_t>(i), 0);
  for (int64_t b = 0; b < kBytes; ++b) block.push_back(static_cast<std::byte>(rng.NextU64()));
  return block;
}

class DiskTierTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "millrace_disk_tier_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    config_.directory = root_ / "cache";
    config_.identity = "model A";
    config_.block_bytes = kBytes;
  }
  void TearDown() override { fs::remove_all(root_); }

  std::unique_ptr<DiskTier> Open() {
    auto tier = DiskTier::Open(config_);
    CHECK(tier.ok());
    return std::move(tier).value();
  }
  static void Store(DiskTier& tier, int i) {
    tier.Store(Chain(i), BlockTokens(i), Block(i), DiskTier::WhenFull::kWait);
  }
  // Whether block i is there, which must then be right.
  static bool Load(DiskTier& tier, int i) {
    std::vector<std::byte> block(static_cast<size_t>(kBytes));
    const bool found = tier.Load(Chain(i), BlockTokens(i), block);
    if (found) {
      EXPECT_EQ(block, Block(i));
    }
    return found;
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(config_.directory)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }

  fs::path root_;
  DiskTierConfig config_;
};

TEST_F(DiskTierTest, WhatIsStoredIsFoundAfterARestart) {
  {
    const auto tier = Open();
    EXPECT_FALSE(Load(*tier, 1));
    for (int i = 0; i < 20; ++i) Store(*tier, i);
  }
  const auto tier = Open();
  EXPECT_EQ(tier->stats().files, 20);
  EXPECT_EQ(tier->stats().bytes, 20 * kFileBytes);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(tier->Contains(Chain(i)));
    EXPECT_TRUE(Load(*tier, i));
  }
  EXPECT_FALSE(tier->Contains(Chain(20)));
  EXPECT_FALSE(Load(*tier, 20));
  Store(*tier, 3);
  tier->Flush();
  EXPECT_EQ(tier->stats().written, 0);  // it was there
}

TEST_F(DiskTierTest, IdentitiesAreApart) {
  {
    const auto tier = Open();
    Store(*tier, 1);
  }
  config_.identity = "model B";
  const auto tier = Open();
  EXPECT_FALSE(Load(*tier, 1));
  EXPECT_EQ(tier->stats().files, 1);  // and counts towards the bound
}

TEST_F(DiskTierTest, TheSizeIsBoundedAndTheLeastRecentlyUsedGo) {
  config_.max_bytes = 5 * kFileBytes + 10;
  auto tier = Open();
  for (int i = 0; i < 5; ++i) Store(*tier, i);
  tier->Flush();
  EXPECT_TRUE(Load(*tier, 0));
  Store(*tier, 5);
  Store(*tier, 6);
  tier->Flush();
  EXPECT_EQ(Files().size(), 5u);
  EXPECT_TRUE(tier->Contains(Chain(0)));
  EXPECT_FALSE(tier->Contains(Chain(1)));
  EXPECT_FALSE(tier->Contains(Chain(2)));
  EXPECT_EQ(tier->stats().evicted, 2);
  tier.reset();
  config_.max_bytes = 2 * kFileBytes;
  tier = Open();
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(DiskTierTest, DamageIsSeenAndDeleted) {
  auto tier = Open();
  int damages = 0;
  for (int64_t at = 0; at < kFileBytes; at += 7, ++damages) {
    Store(*tier, 1);
    tier->Flush();
    ASSERT_EQ(Files().size(), 1u);
    {
      std::fstream file(Files()[0], std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at);
      const int byte = file.get();
      file.seekp(at);
      file.put(static_cast<char>(byte ^ (1 << at % 8)));
    }
    ASSERT_FALSE(Load(*tier, 1)) << "byte " << at;
    ASSERT_TRUE(Files().empty());
    ASSERT_FALSE(tier->Contains(Chain(1)));
  }
  for (const int64_t size : {int64_t{0}, int64_t{10}, kFileBytes - 1}) {
    Store(*tier, 1);
    tier->Flush();
    fs::resize_file(Files()[0], static_cast<uintmax_t>(size));
    ASSERT_FALSE(Load(*tier, 1));
    ++damages;
  }
  EXPECT_EQ(tier->stats().damaged, damages);
  // Another's file under this name, and one that vanished.
  Store(*tier, 1);
  Store(*tier, 2);
  tier->Flush();
  const auto files = Files();
  fs::copy_file(files[0], files[1], fs::copy_options::overwrite_existing);
  EXPECT_EQ(Load(*tier, 1) + Load(*tier, 2), 1);
  for (const auto& path : Files()) fs::remove(path);
  EXPECT_FALSE(Load(*tier, 1));
  EXPECT_FALSE(Load(*tier, 2));
}

TEST_F(DiskTierTest, ForeignAndUnfinishedFilesDoNoHarm) {
  { const auto tier = Open(); }
  std::ofstream(config_.directory / "notes.txt") << "hello";
  std::ofstream(config_.directory / "x.kv") << "hello";
  fs::create_directory(config_.directory / "ab");
  std::ofstream(config_.directory / "ab" / "half.kv.12.part") << "hello";
  const auto tier = Open();
  EXPECT_EQ(tier->stats().files, 0);
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(DiskTierTest, AFullQueueDropsRatherThanWaits) {
  config_.queue_bytes = 3 * kBytes;
  const auto tier = Open();
  for (int i = 0; i < 200; ++i) tier->Store(Chain(i), BlockTokens(i), Block(i));
  tier->Flush();
  const DiskTierStats stats = tier->stats();
  EXPECT_EQ(stats.written + stats.dropped, 200);
  EXPECT_GE(stats.written, 3);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Load(*tier, i), tier->Contains(Chain(i)));
  }
}

TEST_F(DiskTierTest, ADirectoryThatCannotBeUsedIsAnError) {
  std::ofstream(root_ / "file") << "no directory";
  config_.directory = root_ / "file" / "cache";
  const auto tier = DiskTier::Open(config_);
  ASSERT_FALSE(tier.ok());
  EXPECT_NE(tier.error().message.find("file/cache"), std::string::npos);
}

TEST_F(DiskTierTest, ADiskThatFailsCostsNothingButTheBlocks) {
  const auto tier = Open();
  fs::remove_all(config_.directory);
  std::ofstream(config_.directory) << "no directory any more";
  Store(*tier, 1);
  tier->Flush();
  EXPECT_EQ(tier->stats().dropped, 1);
  EXPECT_FALSE(Load(*tier, 1));
  EXPECT_FALSE(tier->MeasureLoad(Clock()).ok());
}

TEST_F(DiskTierTest, OnlyThisUserMayRead) {
  const auto tier = Open();
  Store(*tier, 1);
  tier->Flush();
  EXPECT_EQ(fs::status(config_.directory).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(Files()[0]).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(DiskTierTest, MeasuringLeavesNothing) {
  const auto tier = Open();
  const auto time = tier->MeasureLoad(Clock());
  ASSERT_TRUE(time.ok());
  EXPECT_GT(*time, Duration(0));
  EXPECT_TRUE(Files().empty());
}

// Killed at random moments while it writes: what the next one finds is right, and holds at least
// what was on disk before. The child says when its first block is there, so that a slow machine
// kills no writer that has not begun.
TEST_F(DiskTierTest, KilledAtAnyMoment) {
  CounterRng rng(3, 0);
  for (int round = 0; round < 50; ++round) {
    int begun[2];
    ASSERT_EQ(pipe(begun), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto tier = DiskTier::Open(config_);
      if (!tier.ok()) _exit(1);
      Store(**tier, round * 50 % 700);
      (*tier)->Flush();
      if (write(begun[1], "", 1) != 1) _exit(1);
      for (int i = 1;; ++i) Store(**tier, (round * 50 + i) % 700);
    }
    close(begun[1]);
    char byte;
    ASSERT_EQ(read(begun[0], &byte, 1), 1) << "the writer ended by itself";
    close(begun[0]);
    std::this_thread::sleep_for(std::chrono::microseconds(rng.NextU64() % 9000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto tier = Open();
    EXPECT_TRUE(Load(*tier, round * 50 % 700)) << "round " << round;
    for (int i = 0; i < 700; ++i) Load(*tier, i);
    ASSERT_EQ(tier->stats().damaged, 0) << "round " << round;
  }
}

TEST(Sha256Test, KnownAnswers) {  // FIPS 180-4 examples
  const auto hash = [](const std::string& text) {
    return HexOf(Sha256().AddAll(std::span<const char>(text)).Finish());
  };
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  // In pieces of any size the same.
  const std::string text(300, 'x');
  for (size_t piece = 1; piece < 130; ++piece) {
    Sha256 sha;
    for (size_t at = 0; at < text.size(); at += piece) {
      const std::string part = text.substr(at, piece);
      sha.AddAll(std::span<const char>(part));
    }
    EXPECT_EQ(HexOf(sha.Finish()), hash(text)) << piece;
  }
}

}  // namespace
}  // namespace millrace
