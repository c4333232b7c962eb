#include "simd/isa.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Isa, ScalarIsAlwaysThereAndNamesRoundTrip) {
  EXPECT_EQ(SupportedIsas().front(), Isa::kScalar);
  for (Isa isa : SupportedIsas()) EXPECT_EQ(*ChooseIsa(NameOf(isa)), isa);
  EXPECT_EQ(*ChooseIsa(std::nullopt), DetectIsa());
}

TEST(Isa, UnknownNameIsAnErrorThatListsTheChoices) {
  auto bad = ChooseIsa("sse9");
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("scalar"), std::string::npos);
}

}  // namespace
}  // namespace millrace
