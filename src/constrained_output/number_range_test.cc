// Bounds of numbers against arithmetic.
#include "constrained_output/number_range.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"
#include "constrained_output/test_support.h"

namespace millrace {
namespace {

using constrained_internal::Decimal;

TEST(Decimal, ParsesWhatJsonWrites) {
  const auto check = [](std::string_view text, bool negative, std::string_view whole,
                        std::string_view fraction) {
    const auto number = Decimal::Parse(text);
    ASSERT_TRUE(number.has_value()) << text;
    EXPECT_EQ(number->negative, negative) << text;
    EXPECT_EQ(number->whole, whole) << text;
    EXPECT_EQ(number->fraction, fraction) << text;
  };
  check("0", false, "0", "");
  check("-0.0", false, "0", "");
  check("12.50", false, "12", "5");
  check("-1.5e3", true, "1500", "");
  check("25e-4", false, "0", "0025");
  check("1e20", false, "100000000000000000000", "");
  EXPECT_FALSE(Decimal::Parse("1e99").has_value());
}

TEST(NumberRange, IntegersWithinBounds) {
  CounterRng rng(7, 8);
  for (int round = 0; round < 60; ++round) {
    int64_t low = static_cast<int64_t>(rng.NextU64() % 2400) - 1200;
    int64_t high = low + static_cast<int64_t>(rng.NextU64() % (round % 3 == 0 ? 20 : 1500)) + 30;
    const int64_t multiple = round % 4 == 0 ? 1 + static_cast<int64_t>(rng.NextU64() % 30) : 1;
    const auto grammar =
        SchemaOf(fmt::format(R"({{"type": "integer", "minimum": {}, "maximum": {}{}}})", low, high,
                             multiple > 1 ? fmt::format(R"(, "multipleOf": {})", multiple) : ""));
    for (int64_t value = -2700; value <= 2700; ++value) {
      const bool expected = value >= low && value <= high && value % multiple == 0;
      ASSERT_EQ(Accepts(grammar, std::to_string(value)), expected)
          << value << " in " << low << " to " << high << " by " << multiple;
    }
    EXPECT_FALSE(Accepts(grammar, "007"));
  }
}

TEST(NumberRange, ExcludedBoundsAndOneSide) {
  const auto above = SchemaOf(R"({"type": "integer", "exclusiveMinimum": 9})");
  EXPECT_FALSE(Accepts(above, "9"));
  EXPECT_TRUE(Accepts(above, "10"));
  EXPECT_TRUE(Accepts(above, "123456"));
  EXPECT_FALSE(Accepts(above, "-11"));
  const auto below = SchemaOf(R"({"type": "integer", "exclusiveMaximum": 0})");
  EXPECT_FALSE(Accepts(below, "0"));
  EXPECT_FALSE(Accepts(below, "-0"));
  EXPECT_TRUE(Accepts(below, "-1"));
  EXPECT_TRUE(Accepts(below, "-99999"));
  const auto fractional = SchemaOf(R"({"type": "integer", "minimum": 1.5, "maximum": 3.5})");
  EXPECT_FALSE(Accepts(fractional, "1"));
  EXPECT_TRUE(Accepts(fractional, "2"));
  EXPECT_TRUE(Accepts(fractional, "3"));
  EXPECT_FALSE(Accepts(fractional, "4"));
  const auto older = SchemaOf(R"({"type": "integer", "minimum": 3, "exclusiveMinimum": true})");
  EXPECT_FALSE(Accepts(older, "3"));
  EXPECT_TRUE(Accepts(older, "4"));
}

TEST(NumberRange, Fractions) {
  for (const double low : {-2.5, -0.25, 0.0, 0.5, 1.75}) {
    for (const double width : {0.25, 1.0, 3.5, 12.0}) {
      const double high = low + width;
      const auto grammar = SchemaOf(
          fmt::format(R"({{"type": "number", "minimum": {}, "exclusiveMaximum": {}}})", low, high));
      for (int hundredths = -400; hundredths <= 1600; ++hundredths) {
        if (hundredths == 0) continue;  // -0.00 and 0.00 below
        const double value = hundredths / 100.0;
        ASSERT_EQ(Accepts(grammar, fmt::format("{:.2f}", value)), value >= low && value < high)
            << value << " in " << low << " to " << high;
      }
    }
  }
  const auto cents = SchemaOf(R"({"type": "number", "minimum": 0, "multipleOf": 0.05})");
  EXPECT_TRUE(Accepts(cents, "0.15"));
  EXPECT_TRUE(Accepts(cents, "3"));
  EXPECT_TRUE(Accepts(cents, "2.5"));
  EXPECT_FALSE(Accepts(cents, "0.12"));
  EXPECT_FALSE(Accepts(cents, "0.151"));
}

TEST(NumberRange, NoBounds) {
  const auto number = SchemaOf(R"({"type": "number"})");
  for (const char* text : {"0", "-0", "1.5e10", "-12.25E-7", "1e5"}) {
    EXPECT_TRUE(Accepts(number, text)) << text;
  }
  for (const char* text : {"", "-", "01", "1.", ".5", "1e", "1e999", "+1", "NaN"}) {
    EXPECT_FALSE(Accepts(number, text)) << text;
  }
  const auto integer = SchemaOf(R"({"type": "integer"})");
  EXPECT_TRUE(Accepts(integer, "-42"));
  EXPECT_FALSE(Accepts(integer, "1.0"));
  EXPECT_FALSE(Accepts(integer, "1e3"));
}

TEST(NumberRange, BadBounds) {
  EXPECT_NE(SchemaError(R"({"minimum": "1"})").find("'minimum' at '#' must be a number"),
            std::string::npos);
  EXPECT_NE(SchemaError(R"({"type": "integer", "minimum": 3, "maximum": 2})").find("no text"),
            std::string::npos);
  EXPECT_NE(SchemaError(R"({"multipleOf": 0})").find("above zero"), std::string::npos);
  EXPECT_NE(SchemaError(R"({"multipleOf": 1234567})").find("1000 units"), std::string::npos);
}

}  // namespace
}  // namespace millrace
