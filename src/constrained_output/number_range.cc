#include "constrained_output/number_range.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace millrace::constrained_internal {
namespace {

using State = NfaBuilder::State;

int CompareMagnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order;
  return a.fraction.compare(b.fraction);  // trailing zeros are gone, so a prefix is smaller
}

// The multiple as a whole number of units of 10^-scale.
struct Multiple {
  int64_t units = 1;
  size_t scale = 0;
};

Result<Multiple> WholeMultiple(const Decimal& multiple) {
  Multiple whole{0, multiple.fraction.size()};
  for (const char digit : multiple.whole + multiple.fraction) {
    whole.units = whole.units * 10 + (digit - '0');
    if (whole.units > kMaxMultiple) {
      return Error{
          fmt::format("'multipleOf' is supported up to {} units of its last digit.", kMaxMultiple),
          ErrorKind::kUnsupported};
    }
  }
  return whole;
}

// Writes the digits of numbers without sign between two bounds. A place among the digits is known
// by how much is still to come and whether what was written equals a bound's beginning.
class Magnitudes {
 public:
  using Bound = std::optional<NumberRange::Bound>;

  Magnitudes(NfaBuilder& builder, State to, bool integer, Bound least, Bound most,
             std::optional<Multiple> multiple)
      : builder_(builder),
        to_(to),
        least_(std::move(least)),
        most_(std::move(most)),
        multiple_(multiple) {
    fraction_digits_ = integer ? 0 : kMaxFractionDigits;
    if (!integer && multiple_) fraction_digits_ = multiple_->scale;
    if (!integer && !multiple_) {
      if (least_) fraction_digits_ = std::max(fraction_digits_, least_->value.fraction.size() + 1);
      if (most_) fraction_digits_ = std::max(fraction_digits_, most_->value.fraction.size() + 1);
    }
  }

  void Write(State from) {
    const size_t shortest = least_ ? least_->value.whole.size() : 1;
    size_t longest = std::max(kMaxWholeDigits, shortest);
    if (most_) longest = most_->value.whole.size();
    for (size_t length = shortest; length <= longest && builder_.within_budget(); ++length) {
      const bool at_least = least_ && length == least_->value.whole.size();
      const bool at_most = most_ && length == most_->value.whole.size();
      length_ = length;
      WholeDigits(from, {length, at_least, at_most, 0}, true);
    }
  }

 private:
  struct Place {
    size_t left;  // whole digits to come; behind them: fraction digits written
    bool at_least, at_most;
    int64_t rest;  // of what was written, in the multiple
    friend auto operator<=>(const Place&, const Place&) = default;
  };

  static int DigitOf(const std::string& digits, size_t i) {
    return i < digits.size() ? digits[i] - '0' : 0;
  }
  int64_t RestBehind(int64_t rest, int digit) const {
    return multiple_ ? (rest * 10 + digit) % multiple_->units : 0;
  }
  // Calls `write` for runs of digits that lead to one place.
  template <class Next>
  void Digits(State from, int first, const Place& place, const std::string* least,
              const std::string* most, size_t index, Next next) {
    for (int digit = first; digit <= 9 && builder_.within_budget(); ++digit) {
      Place behind = place;
      if (place.at_least) {
        const int bound = DigitOf(*least, index);
        if (digit < bound) continue;
        behind.at_least = digit == bound;
      }
      if (place.at_most) {
        const int bound = DigitOf(*most, index);
        if (digit > bound) continue;
        behind.at_most = digit == bound;
      }
      behind.rest = RestBehind(place.rest, digit);
      const auto symbol = static_cast<uint16_t>('0' + digit);
      builder_.Symbols(from, next(behind), symbol, symbol);
    }
  }

  State WholePlace(const Place& place) {
    if (place.left == 0) return FractionPlace(place);
    const auto [at, is_new] = whole_.emplace(place, 0);
    if (!is_new) return at->second;
    const State state = at->second = builder_.NewState();
    WholeDigits(state, place, false);
    return state;
  }

  void WholeDigits(State from, const Place& place, bool first) {
    const size_t index = length_ - place.left;
    const std::string* least = least_ ? &least_->value.whole : nullptr;
    const std::string* most = most_ ? &most_->value.whole : nullptr;
    Place next = place;
    --next.left;
    Digits(from, first && length_ > 1 ? 1 : 0, next, least, most, index,
           [&](const Place& behind) { return WholePlace(behind); });
  }

  // Behind the last whole digit.
  State FractionPlace(const Place& place) {
    const auto [at, is_new] = fraction_.emplace(place, 0);
    if (!is_new) return at->second;
    const State state = at->second = builder_.NewState();
    if (MayEnd(place)) builder_.Empty(state, to_);
    if (place.left == fraction_digits_) return state;
    State from = state;
    if (place.left == 0) {
      from = builder_.NewState();
      builder_.Symbols(state, from, '.', '.');
    }
    Place next = place;
    ++next.left;
    const std::string* least = least_ ? &least_->value.fraction : nullptr;
    const std::string* most = most_ ? &most_->value.fraction : nullptr;
    Digits(from, 0, next, least, most, place.left,
           [&](const Place& behind) { return FractionPlace(behind); });
    return state;
  }

  // `place.left`: fraction digits written; those that are not count as zeros.
  bool MayEnd(const Place& place) const {
    if (place.at_least) {
      if (place.left < least_->value.fraction.size() || least_->excluded) return false;
    }
    if (place.at_most && place.left >= most_->value.fraction.size() && most_->excluded) {
      return false;
    }
    if (!multiple_) return true;
    int64_t rest = place.rest;
    for (size_t i = place.left; i < multiple_->scale; ++i) rest = RestBehind(rest, 0);
    return rest == 0;
  }

  NfaBuilder& builder_;
  const State to_;
  const Bound least_, most_;
  const std::optional<Multiple> multiple_;
  size_t fraction_digits_ = 0;
  size_t length_ = 0;  // whole digits
  std::map<Place, State> whole_, fraction_;
};

void WriteFreely(NfaBuilder& b, State from, State to, bool integer) {
  const State sign = b.NewState(), whole = b.NewState();
  b.Empty(from, sign);
  b.Symbols(from, sign, '-', '-');
  Magnitudes(b, whole, integer, {}, {}, {}).Write(sign);
  b.Empty(whole, to);
  if (integer) return;
  const State exponent = b.NewState(), digits = b.NewState(), one = b.NewState();
  b.Symbols(whole, exponent, 'e', 'e');
  b.Symbols(whole, exponent, 'E', 'E');
  b.Empty(exponent, digits);
  b.Symbols(exponent, digits, '+', '+');
  b.Symbols(exponent, digits, '-', '-');
  b.Symbols(digits, one, '0', '9');
  b.Empty(one, to);
  b.Symbols(one, to, '0', '9');
}

}  // namespace

std::optional<Decimal> Decimal::Parse(std::string_view text) {
  Decimal number;
  if (text.starts_with('-')) {
    number.negative = true;
    text.remove_prefix(1);
  }
  std::string digits;
  int64_t point = -1, exponent = 0;  // `point`: digits before it
  size_t i = 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      point = static_cast<int64_t>(digits.size());
    } else if (text[i] >= '0' && text[i] <= '9') {
      digits += text[i];
    } else {
      return std::nullopt;
    }
  }
  if (point < 0) point = static_cast<int64_t>(digits.size());
  if (i < text.size()) {
    const bool down = i + 1 < text.size() && text[i + 1] == '-';
    i += i + 1 < text.size() && (text[i + 1] == '-' || text[i + 1] == '+') ? 2 : 1;
    for (; i < text.size(); ++i) {
      exponent = std::min<int64_t>(exponent * 10 + (text[i] - '0'), 1000);
    }
    if (down) exponent = -exponent;
  }
  point += exponent;
  if (point > 40 || point < -40 || digits.size() > 40) return std::nullopt;
  if (point < 0) {
    digits.insert(0, static_cast<size_t>(-point), '0');
    point = 0;
  }
  if (static_cast<size_t>(point) > digits.size()) digits.resize(static_cast<size_t>(point), '0');
  number.whole = digits.substr(0, static_cast<size_t>(point));
  number.fraction = digits.substr(static_cast<size_t>(point));
  number.whole.erase(0, std::min(number.whole.find_first_not_of('0'), number.whole.size()));
  if (number.whole.empty()) number.whole = "0";
  number.fraction.erase(number.fraction.find_last_not_of('0') + 1);
  if (number.IsZero()) number.negative = false;
  return number;
}

int Decimal::Compare(const Decimal& other) const {
  if (negative != other.negative) return negative ? -1 : 1;
  const int order = CompareMagnitudes(*this, other);
  return negative ? -order : order;
}

bool Contains(const NumberRange& range, const Decimal& number) {
  if (range.integer && !number.fraction.empty()) return false;
  if (range.least) {
    const int order = number.Compare(range.least->value);
    if (order < 0 || (order == 0 && range.least->excluded)) return false;
  }
  if (range.most) {
    const int order = number.Compare(range.most->value);
    if (order > 0 || (order == 0 && range.most->excluded)) return false;
  }
  if (!range.multiple_of) return true;
  const auto multiple = WholeMultiple(*range.multiple_of);
  if (!multiple.ok() || number.fraction.size() > multiple->scale) return false;
  std::string digits = number.whole + number.fraction;
  digits.append(multiple->scale - number.fraction.size(), '0');
  int64_t rest = 0;
  for (const char digit : digits) rest = (rest * 10 + (digit - '0')) % multiple->units;
  return rest == 0;
}

Status WriteNumber(NfaBuilder& builder, State from, State to, const NumberRange& range) {
  if (!range.least && !range.most && !range.multiple_of) {
    WriteFreely(builder, from, to, range.integer);
    return {};
  }
  std::optional<Multiple> multiple;
  if (range.multiple_of) {
    ASSIGN_OR_RETURN(multiple, WholeMultiple(*range.multiple_of));
  }
  const NumberRange::Bound zero{Decimal{}, false}, above_zero{Decimal{}, true};
  const auto without_sign = [](NumberRange::Bound bound) {
    bound.value.negative = false;
    return bound;
  };
  // From zero up.
  const bool may_be_positive =
      !range.most ||
      !(range.most->value.negative || (range.most->value.IsZero() && range.most->excluded));
  if (may_be_positive) {
    const bool from_zero = !range.least || range.least->value.negative;
    const bool above = range.least && !from_zero;
    Magnitudes(builder, to, range.integer, above ? *range.least : zero, range.most, multiple)
        .Write(from);
  }
  // Below zero: "-" and a number above zero.
  if (!range.least || range.least->value.negative) {
    const State sign = builder.NewState();
    builder.Symbols(from, sign, '-', '-');
    Magnitudes::Bound most;
    if (range.least) most = without_sign(*range.least);
    const bool is_below = range.most && range.most->value.negative;
    Magnitudes(builder, to, range.integer, is_below ? without_sign(*range.most) : above_zero, most,
               multiple)
        .Write(sign);
  }
  return {};
}

}  // namespace millrace::constrained_internal
