// JSON numbers within bounds, as automata over their digits.
//
// What is written: no sign but "-", digits without leading zeros, for other than integers a
// fraction of up to kMaxFractionDigits, and where nothing bounds the number also an exponent of up
// to two digits. The whole part has up to kMaxWholeDigits, or as many as a bound has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "constrained_output/nfa.h"

namespace millrace::constrained_internal {

inline constexpr size_t kMaxWholeDigits = 15;  // what a double holds exactly
inline constexpr size_t kMaxFractionDigits = 16;
inline constexpr int64_t kMaxMultiple = 1000;  // after it was made whole

// A number in digits: exactly what a JSON text says.
struct Decimal {
  bool negative = false;
  std::string whole = "0";  // no leading zeros
  std::string fraction;     // no trailing zeros

  // Of a JSON number; nothing where it has more than 40 digits.
  static std::optional<Decimal> Parse(std::string_view text);
  bool IsZero() const { return whole == "0" && fraction.empty(); }
  // Less than, equal to or greater than zero, as *this is than `other`.
  int Compare(const Decimal& other) const;
};

struct NumberRange {
  struct Bound {
    Decimal value;
    bool excluded = false;
  };
  bool integer = false;
  std::optional<Bound> least, most;
  std::optional<Decimal> multiple_of;  // above zero
};

// Whether the number is in the range.
bool Contains(const NumberRange& range, const Decimal& number);
// Error: multiple_of needs too many states.
Status WriteNumber(NfaBuilder& builder, NfaBuilder::State from, NfaBuilder::State to,
                   const NumberRange& range);

}  // namespace millrace::constrained_internal
