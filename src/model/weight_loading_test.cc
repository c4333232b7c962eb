// The ways to hold weights give the same bits: packed, packed earlier in a cache, in place. A cache
// that is stale, damaged or cannot be written costs a warning and nothing else.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "model/random_model.h"
#include "model/transformer.h"
#include "model/weight_cache.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

TEST(ChooseStorage, PacksWhereThereIsRoom) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  EXPECT_EQ(ChooseStorage(4 * kGiB, kGiB, 8 * kGiB), WeightStorage::kPacked);
  EXPECT_EQ(ChooseStorage(4 * kGiB, kGiB, 5 * kGiB), WeightStorage::kMapped);
  EXPECT_EQ(ChooseStorage(4 * kGiB, 4 * kGiB, 8 * kGiB), WeightStorage::kMapped);
  EXPECT_EQ(ChooseStorage(1000, 0, kMemoryBesides + 1050), WeightStorage::kPacked);
  EXPECT_EQ(ChooseStorage(1000, 0, kMemoryBesides + 1049), WeightStorage::kMapped);
}

// A folder with a small model in it, and one for caches; removed at the end.
class WeightLoading : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "millrace-weights-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    model_ = (folder_ / "model.gguf").string();
    caches_ = (folder_ / "caches").string();
    WriteModel(1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void WriteModel(uint64_t seed) {
    const auto shape = FindShape("tiny");
    ASSERT_TRUE(shape.ok());
    const auto mix = ParseTypeMix("Q4_K_M");
    ASSERT_TRUE(mix.ok());
    GgufWriter writer;
    AddRandomModel(**shape, *mix, seed, writer);
    const Status written = writer.WriteTo(model_);
    ASSERT_TRUE(written.ok()) << written.error().message;
  }

  std::shared_ptr<const MappedGguf> Open() {
    auto mapped = MappedGguf::Open(model_);
    CHECK(mapped.ok());
    return std::make_shared<const MappedGguf>(std::move(*mapped));
  }

  WeightOptions Options(const std::shared_ptr<const MappedGguf>& mapped, WeightStorage storage,
                        const std::string& cache) {
    WeightOptions options;
    options.storage = storage;
    options.cache_directory = cache;
    options.mapped = mapped;
    options.warn = [this](const std::string& sentence) { warnings_.push_back(sentence); };
    return options;
  }

  TransformerWeights Load(const std::string& cache) {
    const auto mapped = Open();
    const auto config = ReadTransformerConfig(mapped->file());
    CHECK(config.ok());
    auto weights = LoadTransformerWeights(mapped->file(), *config, pool_, {},
                                          Options(mapped, WeightStorage::kPacked, cache));
    CHECK(weights.ok());
    return std::move(*weights);
  }

  std::vector<float> Logits(WeightStorage storage, const std::string& cache, int threads) {
    ThreadPool pool(threads);
    auto mapped = Open();
    TransformerOptions options;
    options.isa = DetectIsa();
    options.max_positions = 64;
    options.weights = Options(mapped, storage, cache);
    auto model = Transformer::Load(mapped->file(), options, pool);
    CHECK(model.ok());
    mapped.reset();
    options.weights.mapped.reset();  // the model keeps what it needs
    auto kv = KvStore::Create((*model)->info().kv_shape, KvType::kBf16, 2);
    CHECK(kv.ok());
    const std::vector<BlockId> table = {BlockId(1), BlockId(0)};
    std::vector<TokenId> tokens;
    for (int i = 0; i < 33; ++i) tokens.push_back(TokenId(7 * i % 200));
    Batch batch;
    batch.sequences.push_back({tokens, 0, table, static_cast<int32_t>(tokens.size())});
    const MatrixView<const float> logits = (*model)->Forward(batch, *kv);
    return {logits.data, logits.data + logits.rows * logits.columns};
  }

  std::string CachePath() { return WeightCachePath(caches_, *Open()->identity()); }

  // Loads, expects one warning that holds `words`, and a cache that serves afterwards.
  void ExpectIgnoredAndMadeAnew(const std::string& words) {
    warnings_.clear();
    EXPECT_FALSE(Load(caches_).from_cache);
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_NE(warnings_[0].find(words), std::string::npos) << warnings_[0];
    EXPECT_TRUE(Load(caches_).from_cache);
    EXPECT_EQ(warnings_.size(), 1u);
  }

  ThreadPool pool_{2};
  fs::path folder_;
  std::string model_, caches_;
  std::vector<std::string> warnings_;
};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

TEST_F(WeightLoading, EveryStorageGivesTheSameLogits) {
  const auto packed = Logits(WeightStorage::kPacked, "", 1);
  EXPECT_TRUE(SameBits(Logits(WeightStorage::kMapped, "", 1), packed));
  EXPECT_TRUE(SameBits(Logits(WeightStorage::kMapped, "", 2), packed));
  EXPECT_TRUE(SameBits(Logits(WeightStorage::kPacked, caches_, 2), packed));  // writes the cache
  EXPECT_TRUE(SameBits(Logits(WeightStorage::kPacked, caches_, 2), packed));  // reads it
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(WeightLoading, SecondLoadComesFromTheCache) {
  const TransformerWeights first = Load(caches_);
  const TransformerWeights second = Load(caches_);
  EXPECT_FALSE(first.from_cache);
  ASSERT_TRUE(second.from_cache);
  EXPECT_TRUE(warnings_.empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(caches_), fs::directory_iterator()), 1);
  const std::span<const std::byte> a = first.layers[0].down.packed_bytes();
  const std::span<const std::byte> b = second.layers[0].down.packed_bytes();
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size()), 0);
}

TEST_F(WeightLoading, AnotherVersionOfTheModelIsNotServed) {
  (void)Load(caches_);
  WriteModel(2);  // of the same size
  fs::last_write_time(model_, fs::last_write_time(model_) + std::chrono::seconds(1));
  ExpectIgnoredAndMadeAnew("another version of the model");
  const TransformerWeights cached = Load(caches_), packed = Load("");
  EXPECT_EQ(
      std::memcmp(cached.token_embedding.packed_bytes().data(),
                  packed.token_embedding.packed_bytes().data(), packed.token_embedding.bytes()),
      0);
}

TEST_F(WeightLoading, EveryDamagedByteIsSeen) {
  (void)Load(caches_);
  const auto size = static_cast<int64_t>(fs::file_size(CachePath()));
  // The header's fields, the index, and panels near the beginning, the middle and the end.
  for (const int64_t at : {int64_t{0}, int64_t{16}, int64_t{20}, int64_t{40}, int64_t{48},
                           int64_t{56}, int64_t{64}, int64_t{90}, int64_t{120}, size / 2}) {
    SCOPED_TRACE(at);
    std::fstream file(CachePath(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 4));
    file.close();
    ExpectIgnoredAndMadeAnew("packing the weights again");
  }
  for (const int64_t length : {int64_t{0}, int64_t{63}, int64_t{100}, size - 1}) {
    SCOPED_TRACE(length);
    fs::resize_file(CachePath(), static_cast<uintmax_t>(length));
    ExpectIgnoredAndMadeAnew("packing the weights again");
  }
}

TEST_F(WeightLoading, UnusableFolderIsAWarning) {
  std::ofstream(caches_) << "a file where the folder should be";
  EXPECT_FALSE(Load(caches_).from_cache);
  ASSERT_FALSE(warnings_.empty());
  EXPECT_NE(warnings_.back().find("going on without a cache"), std::string::npos);
}

// A limit on the size of files stands for a full disk: the write fails half way.
TEST_F(WeightLoading, FullDiskIsAWarningAndLeavesNothing) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const bool from_cache = Load(caches_).from_cache;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(from_cache);
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("going on without a cache"), std::string::npos) << warnings_[0];
  EXPECT_TRUE(fs::is_empty(caches_));
}

TEST_F(WeightLoading, StaticBytesAreNeitherReleasedNorCached) {
  std::ifstream in(model_, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  auto mapped = MappedGguf::FromStatic(std::as_bytes(std::span(text)), "static");
  ASSERT_TRUE(mapped.ok());
  const auto shared = std::make_shared<const MappedGguf>(std::move(*mapped));
  const auto config = ReadTransformerConfig(shared->file());
  ASSERT_TRUE(config.ok());
  const std::string copy = text;
  const auto weights = LoadTransformerWeights(shared->file(), *config, pool_, {},
                                              Options(shared, WeightStorage::kPacked, caches_));
  ASSERT_TRUE(weights.ok());
  EXPECT_EQ(text, copy);
  EXPECT_FALSE(fs::exists(caches_));
  EXPECT_TRUE(warnings_.empty());
}

}  // namespace
}  // namespace millrace
