#include "embedding/vector_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "embedding/embedding_test_util.h"
#include "prompt_reduction/passage_store.h"

namespace millrace {
namespace {

struct ServedVectors {
  TestModel loaded;
  std::unique_ptr<EmbeddingService> service;
  VectorModel model;
};

std::unique_ptr<ServedVectors> Serve(TestModel loaded, const std::string& name) {
  auto served = std::make_unique<ServedVectors>();
  served->loaded = std::move(loaded);
  served->service = std::make_unique<EmbeddingService>(std::move(served->loaded.model));
  served->model = MakeVectorModel(*served->service, name).value();
  return served;
}

TEST(VectorModel, MakesTheModelsVectors) {
  const auto served = Serve(LoadTestModel({}), "tiny");
  const TestModel alone = LoadTestModel({}, 1);
  EXPECT_EQ(served->model.width, 64);
  EXPECT_EQ(served->model.probe, ComputeOne(*alone.model, alone.model->Encode(kVectorProbe)));
  std::string letters;
  for (int i = 0; i < 300; ++i) letters += "b ";
  const std::string texts[] = {"a mill", letters + "c", ""};
  const auto vectors = served->model.embed(texts);
  ASSERT_TRUE(vectors.ok()) << vectors.error().message;
  ASSERT_EQ(vectors->size(), 3u * 64);
  const auto first = ComputeOne(*alone.model, alone.model->Encode("a mill"));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), vectors->begin()));
  // 301 letters are cut to the 128 tokens that it reads, [CLS] and [SEP] among them.
  EmbeddingText cut = alone.model->Encode(letters);
  ASSERT_EQ(cut.tokens.size(), 302u);
  cut.tokens.erase(cut.tokens.begin() + 127, cut.tokens.end() - 1);
  const auto second = ComputeOne(*alone.model, cut);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), vectors->begin() + 64));
}

TEST(VectorModel, ATextWithoutTokensHasNoDirection) {
  const auto served = Serve(LoadTestBytes(MakeTinyModel({}), 2), "decoder");
  const std::string texts[] = {"a", "", "b"};
  const auto vectors = served->model.embed(texts).value();
  const auto width = static_cast<size_t>(served->model.width);
  ASSERT_EQ(vectors.size(), 3 * width);
  if (!served->service->model().Encode("").tokens.empty()) return;
  EXPECT_THAT(std::span(vectors).subspan(width, width), testing::Each(0.0f));
  EXPECT_NE(vectors[2 * width], 0.0f);
}

// A store knows its model by what it computes: another seed, pooling or width is another model,
// the same weights in another type are not.
TEST(VectorModel, AStoreKnowsItsModelAgain) {
  const std::string path = (std::filesystem::temp_directory_path() /
                            ("millrace-own-model-" + std::to_string(::getpid()) + ".db"))
                               .string();
  std::filesystem::remove(path);
  const auto own = Serve(LoadTestModel({}), "own");
  ASSERT_TRUE(PassageStore::Create(path, &own->model).ok());
  const auto accepts = [&](const TinyEncoderSpec& spec) {
    const auto served = Serve(LoadTestModel(spec), "other");
    return PassageStore::Open(path, PassageStore::Access::kRead)->UseModel(served->model).ok();
  };
  EXPECT_TRUE(accepts({}));
  TinyEncoderSpec spec;
  spec.type = DType::kBF16;
  EXPECT_TRUE(accepts(spec));
  spec.type = DType::kQ8_0;
  EXPECT_TRUE(accepts(spec));
  spec = {};
  spec.seed = 2;
  EXPECT_FALSE(accepts(spec));
  spec = {};
  spec.pooling = 2;
  EXPECT_FALSE(accepts(spec));
  spec = {};
  spec.width = 96;
  spec.ff_width = 128;
  EXPECT_FALSE(accepts(spec));
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
}

}  // namespace
}  // namespace millrace
