#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "sampling/sampler.h"
#include "sampling/test_support.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocabulary = 100;

template <class T>
void ExpectRefused(T SamplingParams::*field, std::initializer_list<T> values, const char* name) {
  for (T value : values) {
    SamplingParams params;
    params.*field = value;
    const Status status = Validate(params, kVocabulary);
    ASSERT_FALSE(status.ok()) << name << " " << value;
    EXPECT_EQ(status.error().kind, ErrorKind::kInvalidArgument);
    EXPECT_THAT(status.error().message, HasSubstr(name));
  }
}

template <class T>
void ExpectAccepted(T SamplingParams::*field, std::initializer_list<T> values) {
  for (T value : values) {
    SamplingParams params;
    params.*field = value;
    EXPECT_TRUE(Validate(params, kVocabulary).ok()) << value;
  }
}

TEST(ValidateTest, RangesAreClosedOrOpenAsDocumented) {
  EXPECT_TRUE(Validate({}, kVocabulary).ok());
  ExpectAccepted(&SamplingParams::temperature, {0.0f, 1e-30f, 2.0f});
  ExpectRefused(&SamplingParams::temperature, {-0.1f, 2.1f, kNan, kInfinity}, "temperature");
  ExpectAccepted(&SamplingParams::top_k, {0, 1, 1 << 30});
  ExpectRefused(&SamplingParams::top_k, {-1}, "top_k");
  ExpectAccepted(&SamplingParams::top_p, {1e-10f, 1.0f});
  ExpectRefused(&SamplingParams::top_p, {0.0f, -1.0f, 1.1f, kNan}, "top_p");
  ExpectAccepted(&SamplingParams::min_p, {0.0f, 0.99f});
  ExpectRefused(&SamplingParams::min_p, {-0.1f, 1.0f, kNan}, "min_p");
  ExpectAccepted(&SamplingParams::repetition_penalty, {0.01f, 1.0f, 5.0f});
  ExpectRefused(&SamplingParams::repetition_penalty, {0.0f, -1.0f, kNan, kInfinity},
                "repetition_penalty");
  ExpectAccepted(&SamplingParams::presence_penalty, {-2.0f, 2.0f});
  ExpectRefused(&SamplingParams::presence_penalty, {-2.1f, 2.1f, kNan}, "presence_penalty");
  ExpectAccepted(&SamplingParams::frequency_penalty, {-2.0f, 2.0f});
  ExpectRefused(&SamplingParams::frequency_penalty, {-2.1f, 2.1f, kNan}, "frequency_penalty");
  ExpectAccepted(&SamplingParams::top_logprobs, {-1, 0, 20});
  ExpectRefused(&SamplingParams::top_logprobs, {21}, "top_logprobs");
}

TEST(ValidateTest, LogitBiasNamesTokensOfTheVocabulary) {
  const auto with = [](int32_t token, float bias) {
    SamplingParams params;
    params.logit_bias = {{TokenId(0), 1.0f}, {TokenId(token), bias}};
    return Validate(params, kVocabulary);
  };
  EXPECT_TRUE(with(99, -100.0f).ok());
  for (int32_t token : {-1, 100, std::numeric_limits<int32_t>::max()}) {
    ASSERT_FALSE(with(token, 1.0f).ok());
    EXPECT_THAT(with(token, 1.0f).error().message, HasSubstr("logit_bias"));
  }
  for (float bias : {-100.5f, 101.0f, kNan}) EXPECT_FALSE(with(3, bias).ok());
}

}  // namespace
}  // namespace millrace
