#include "server/passage_models.h"

#include <gtest/gtest.h>

#include <cmath>

#include "embedding/embedding_test_util.h"

namespace millrace::server_internal {
namespace {

std::vector<Passage> TestPassages() {
  std::vector<Passage> passages(3);
  passages[0].text = "the mill race";
  passages[1].title = "water";
  passages[1].text = "a wheel.";
  for (int i = 0; i < 200; ++i) passages[2].text += "word ";  // 800 tokens: more than 128
  return passages;
}

TEST(PassageModels, AreAbsentWithoutModels) {
  const PassageModels models = PassageModelsOf({});
  EXPECT_FALSE(models.similarity);
  EXPECT_FALSE(models.relevance);
}

TEST(PassageModels, SimilarityIsTheCosineOfQuestionAndPassage) {
  TestModel served_model = LoadTestModel({});
  const TestModel alone = LoadTestModel({}, 1);
  EmbeddingService service(std::move(served_model.model));
  ServedModel served;
  served.embedding = {"tiny", &service};
  const auto cosines = PassageModelsOf(served).similarity("what is a mill", TestPassages());
  ASSERT_TRUE(cosines.ok()) << cosines.error().message;
  ASSERT_EQ(cosines->size(), 3u);
  const auto question = ComputeOne(*alone.model, alone.model->Encode("what is a mill"));
  const char* texts[] = {"the mill race", "water: a wheel."};
  for (size_t i = 0; i < 2; ++i) {
    const auto passage = ComputeOne(*alone.model, alone.model->Encode(texts[i]));
    double expected = 0;
    for (size_t j = 0; j < passage.size(); ++j) expected += double{question[j]} * passage[j];
    EXPECT_NEAR((*cosines)[i], expected, 1e-12);
  }
  EXPECT_TRUE(std::isfinite((*cosines)[2]));
}

TEST(PassageModels, RelevanceIsTheRerankersScoreFromZeroToOne) {
  TinyEncoderSpec spec;
  spec.pooling = 4;
  spec.classifier = true;
  TestModel served_model = LoadTestModel(spec);
  const TestModel alone = LoadTestModel(spec, 1);
  EmbeddingService service(std::move(served_model.model));
  ServedModel served;
  served.rerank = {"tiny", &service};
  const auto scores = PassageModelsOf(served).relevance("what is a mill", TestPassages());
  ASSERT_TRUE(scores.ok()) << scores.error().message;
  const double raw =
      ComputeOne(*alone.model, alone.model->EncodePair("what is a mill", "the mill race"))[0];
  EXPECT_NEAR((*scores)[0], 1 / (1 + std::exp(-raw)), 1e-12);
  EXPECT_GT((*scores)[2], 0);
  EXPECT_LT((*scores)[2], 1);
}

}  // namespace
}  // namespace millrace::server_internal
