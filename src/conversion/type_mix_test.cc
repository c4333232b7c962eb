#include "conversion/type_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace millrace {
namespace {

using ::testing::HasSubstr;

// A llama of 16 layers, of which only the names and shapes matter.
ModelSource Source(int32_t kv_heads, bool tied, int64_t width = 512) {
  ModelSource s;
  s.architecture = "llama";
  s.layers = 16;
  s.heads = 8;
  s.kv_heads = kv_heads;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    SourceTensor t;
    t.name = name;
    t.type = DType::kF16;
    t.shape = std::move(shape);
    s.tensors.push_back(std::move(t));
  };
  add("token_embd.weight", {width, 1000});
  if (!tied) add("output.weight", {width, 1000});
  add("output_norm.weight", {width});
  for (int i = 0; i < 16; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down"})
      add(blk + name + ".weight", {width, width});
    add(blk + "attn_norm.weight", {width});
  }
  return s;
}

std::map<std::string, DType> Types(const ModelSource& s, const char* type,
                                   std::vector<TensorRule> rules = {}, bool importance = false) {
  const auto types = ChooseTypes(s, ParseFileType(type).value(), rules, importance).value();
  std::map<std::string, DType> by_name;
  for (size_t i = 0; i < types.size(); ++i) by_name[s.tensors[i].name] = types[i];
  return by_name;
}

TEST(TypeMix, Q4_K_MGivesHalfOfTheValuesAndDownsMore) {
  const auto t = Types(Source(2, true), "Q4_K_M");
  EXPECT_EQ(t.at("token_embd.weight"), DType::kQ6_K);
  EXPECT_EQ(t.at("output_norm.weight"), DType::kF32);
  std::vector<int> more;
  for (int i = 0; i < 16; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    EXPECT_EQ(t.at(blk + "attn_q.weight"), DType::kQ4_K);
    EXPECT_EQ(t.at(blk + "attn_v.weight"), t.at(blk + "ffn_down.weight"));
    if (t.at(blk + "ffn_down.weight") == DType::kQ6_K) more.push_back(i);
  }
  EXPECT_EQ(more, (std::vector<int>{0, 1, 4, 7, 10, 13, 14, 15}));
  EXPECT_EQ(Types(Source(2, false), "Q4_K_M").at("token_embd.weight"), DType::kQ4_K);
  EXPECT_EQ(Types(Source(2, true), "Q4_K").at("blk.0.attn_v.weight"), DType::kQ6_K);
}

TEST(TypeMix, OtherMixes) {
  const auto q2 = Types(Source(2, true), "Q2_K"), q2_alone = Types(Source(8, true), "Q2_K");
  EXPECT_EQ(q2.at("blk.5.attn_v.weight"), DType::kQ4_K);
  EXPECT_EQ(q2_alone.at("blk.5.attn_v.weight"), DType::kQ3_K);
  EXPECT_EQ(q2.at("blk.5.attn_output.weight"), DType::kQ3_K);
  EXPECT_EQ(q2.at("blk.5.ffn_gate.weight"), DType::kQ2_K);
  const auto q3 = Types(Source(2, true), "Q3_K_M");
  EXPECT_EQ(q3.at("blk.1.attn_v.weight"), DType::kQ5_K);
  EXPECT_EQ(q3.at("blk.2.attn_v.weight"), DType::kQ4_K);
  EXPECT_EQ(q3.at("blk.0.ffn_down.weight"), DType::kQ5_K);
  EXPECT_EQ(Types(Source(2, true), "IQ4_XS").at("blk.0.ffn_down.weight"), DType::kQ5_K);
  EXPECT_EQ(Types(Source(2, true), "IQ4_XS", {}, true).at("blk.0.ffn_down.weight"), DType::kIQ4_XS);
  EXPECT_EQ(Types(Source(2, true), "Q4_0", {}, true).at("blk.0.ffn_down.weight"), DType::kQ4_1);
  EXPECT_EQ(Types(Source(2, true), "F16").at("blk.0.ffn_down.weight"), DType::kF16);
}

TEST(TypeMix, RowsThatBlocksDoNotDivideFallBack) {
  const auto t = Types(Source(2, false, 96), "Q4_K_M");
  EXPECT_EQ(t.at("blk.2.attn_q.weight"), DType::kQ5_0);
  EXPECT_EQ(t.at("blk.0.ffn_down.weight"), DType::kQ8_0);  // for Q6_K
  EXPECT_EQ(t.at("output.weight"), DType::kQ8_0);
  EXPECT_EQ(Types(Source(2, true, 40), "Q4_0").at("blk.2.attn_q.weight"), DType::kF16);
}

TEST(TypeMix, RulesWinAndMustMatch) {
  const auto rule = [](const char* text) { return ParseTensorRule(text).value(); };
  const auto t = Types(Source(2, true), "Q4_K_M", {rule("ffn_down=Q8_0"), rule("blk.3.*=Q5_K")});
  EXPECT_EQ(t.at("blk.2.ffn_down.weight"), DType::kQ8_0);
  EXPECT_EQ(t.at("blk.3.ffn_down.weight"), DType::kQ5_K);
  EXPECT_EQ(t.at("blk.13.ffn_gate.weight"), DType::kQ4_K);
  const TensorRule none[] = {rule("nothing=Q8_0")};
  EXPECT_THAT(
      ChooseTypes(Source(2, true), ParseFileType("Q8_0").value(), none, false).error().message,
      HasSubstr("no tensor matches 'nothing'"));
  const TensorRule large[] = {rule("attn_q=Q4_K")};
  EXPECT_THAT(
      ChooseTypes(Source(2, true, 96), ParseFileType("Q8_0").value(), large, false).error().message,
      HasSubstr("rows of 96"));
  EXPECT_FALSE(ParseTensorRule("ffn_down").ok());
  EXPECT_THAT(ParseTensorRule("a=Q8_1").error().message, HasSubstr("no type"));
  EXPECT_THAT(ParseFileType("Q9").error().message, HasSubstr("Q4_K_M"));
}

TEST(Matches, StarsAndQuestionMarks) {
  EXPECT_TRUE(Matches("ffn", "blk.0.ffn_up.weight"));
  EXPECT_FALSE(Matches("ffn*", "blk.0.ffn_up.weight"));
  EXPECT_TRUE(Matches("*ffn*", "blk.0.ffn_up.weight"));
  EXPECT_TRUE(Matches("blk.?.*.weight", "blk.0.ffn_up.weight"));
  EXPECT_FALSE(Matches("blk.?.*.weight", "blk.10.ffn_up.weight"));
  EXPECT_TRUE(Matches("*a*a*", "banana"));
  EXPECT_FALSE(Matches("*x", ""));
}

}  // namespace
}  // namespace millrace
