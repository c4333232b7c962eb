// Folders written by the test, converted, loaded and compared with the GGUF file that they were
// made from: the same logits.
#include "conversion/hugging_face.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "conversion/hugging_face_test_util.h"
#include "conversion/quantize_file.h"
#include "tokenizer/tokenizer.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;
using Folder = HuggingFaceFolder;

class HuggingFace : public ::testing::TestWithParam<const char*> {};

TEST_P(HuggingFace, GivesTheLogitsOfTheGgufFile) {
  Folder folder(GetParam());
  folder.Write();
  auto source = SourceFromHuggingFace(folder.path().string());
  ASSERT_TRUE(source.ok()) << source.error().message;
  ConversionPlan plan;
  for (const SourceTensor& t : source->tensors) plan.types.push_back(t.type);
  ThreadPool pool(2);
  const std::string out = (folder.path() / "out.gguf").string();
  const Status written = WriteConverted(*source, plan, FitKernelsFor(Isa::kScalar), pool, out);
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto mapped = MappedGguf::Open(out);
  ASSERT_TRUE(mapped.ok()) << mapped.error().message;
  const std::vector<float> expected = LogitsOf(folder.gguf()), got = LogitsOf(mapped->file());
  ASSERT_EQ(expected.size(), got.size());
  for (size_t i = 0; i < got.size(); ++i) {
    // gemma's norms lose a bit by -1 and +1.
    ASSERT_NEAR(got[i], expected[i], std::string(GetParam()) == "gemma3" ? 1e-3 : 0) << i;
  }
  const Tokenizer ours = Tokenizer::FromGguf(mapped->file()).value();
  const Tokenizer theirs = Tokenizer::FromGguf(folder.gguf()).value();
  const std::string text = "Grüße, world! <|im_end|>";
  EXPECT_EQ(ours.Encode(text, SpecialTokens::kParse), theirs.Encode(text, SpecialTokens::kParse));
  EXPECT_EQ(ours.eos(), theirs.FindToken("<|im_end|>"));
  EXPECT_EQ(*mapped->file().FindString("tokenizer.chat_template").value(), "{{ messages }}");
}

INSTANTIATE_TEST_SUITE_P(Architectures, HuggingFace,
                         ::testing::Values("llama", "qwen2", "qwen3", "gemma3"));

TEST(HuggingFaceErrors, SayWhatIsMissing) {
  Folder folder("llama");
  const std::string path = folder.path().string();
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("config.json is missing"));
  folder.Write();
  std::ofstream(folder.path() / "config.json") << R"({"model_type":"mamba"})";
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("'mamba' is not supported"));
  folder.Write();
  fs::resize_file(folder.path() / "model.safetensors", 100000);
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("cut off"));
  fs::remove(folder.path() / "model.safetensors");
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("no *.safetensors"));
}

}  // namespace
}  // namespace millrace
