// Filters over numbers: abs, int, float, round, sum, min, max.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/interpreter.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

std::optional<int64_t> Truncated(double value) {
  if (!(std::abs(value) < 9e18)) return std::nullopt;
  return static_cast<int64_t>(value);
}

Value Int(Interpreter&, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("int", arguments, {"default", "base"});
  RequireDefined(input);
  const Value fallback = bound.Has(0) ? bound[0] : Value::Int(0);
  const int64_t base = bound.Int(1, 10);
  std::optional<int64_t> whole;
  if (const auto number = AsNumber(input)) {
    whole = number->is_float ? Truncated(number->real) : number->integer;
  } else if (input.is_string()) {
    if (base == 0 || (base >= 2 && base <= 36))
      whole = ParsePythonInt(input.as_string(), static_cast<int>(base));
    if (!whole) {
      if (const auto real = ParsePythonFloat(input.as_string())) whole = Truncated(*real);
    }
  }
  return whole ? Value::Int(*whole) : fallback;
}

Value Float(Interpreter&, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("float", arguments, {"default"});
  RequireDefined(input);
  const Value fallback = bound.Has(0) ? bound[0] : Value::Float(0);
  if (const auto number = AsNumber(input)) return Value::Float(number->real);
  if (!input.is_string()) return fallback;
  const auto real = ParsePythonFloat(input.as_string());
  return real ? Value::Float(*real) : fallback;
}

Number RequireNumber(const Value& value, std::string_view filter) {
  RequireDefined(value);
  const auto number = AsNumber(value);
  if (!number)
    Fail("bad operand type for " + std::string(filter) + ": '" + std::string(TypeName(value)) +
         "'");
  return *number;
}

Value Abs(Interpreter&, const Value& input, const CallArguments&) {
  const Number n = RequireNumber(input, "abs()");
  if (n.is_float) return Value::Float(std::abs(n.real));
  if (n.integer == INT64_MIN) Fail("the result of abs() is beyond 64 bits");
  return Value::Int(n.integer < 0 ? -n.integer : n.integer);
}

Value Round(Interpreter&, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("round", arguments, {"precision", "method"});
  const Number n = RequireNumber(input, "round()");
  const int64_t precision = bound.Int(0, 0);
  const std::string_view method = bound.Get(1) ? bound.String(1) : "common";
  if (std::abs(precision) > 300) return input;
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "common") {
    if (!n.is_float && precision >= 0) return Value::Int(n.integer);
    if (precision < 0) {
      const double rounded = std::nearbyint(n.real * scale) / scale;
      if (n.is_float) return Value::Float(rounded);
      return Value::Int(Truncated(rounded).value_or(n.integer));
    }
    // printf rounds the exact binary value, as Python does; multiplying first would round twice.
    char buffer[700];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), n.real);
    return Value::Float(std::strtod(buffer, nullptr));
  }
  // math.ceil and math.floor give an int, which the division by 10**precision makes a float.
  if (method == "ceil") return Value::Float(std::ceil(n.real * scale) / scale);
  if (method == "floor") return Value::Float(std::floor(n.real * scale) / scale);
  Fail("method must be common, ceil or floor");
}

Value Sum(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("sum", arguments, {"attribute", "start"});
  Value total = bound.Has(1) ? bound[1] : Value::Int(0);
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    interpreter.budget().Step();
    total = interpreter.Binary(BinaryOp::kAdd, total,
                               bound.Get(0) ? interpreter.GetPath(item, bound[0]) : item);
  }
  return total;
}

// min and max: the first of the smallest or largest.
template <bool kLargest>
Value Extreme(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound(kLargest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const bool exact = bound.Bool(0, false);
  const auto key_of = [&](const Value& item) {
    Value key = bound.Get(1) ? interpreter.GetPath(item, bound[1]) : item;
    if (!exact && key.is_string()) return interpreter.MakeString(ToLower(key.as_string()));
    return key;
  };
  const auto items = interpreter.Iterate(input);
  if (items->items.empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  Value best = items->items[0], best_key = key_of(best);
  for (size_t i = 1; i < items->items.size(); ++i) {
    interpreter.budget().Step();
    const Value key = key_of(items->items[i]);
    if (kLargest ? Less(best_key, key, "<", interpreter.budget())
                 : Less(key, best_key, "<", interpreter.budget())) {
      best = items->items[i];
      best_key = key;
    }
  }
  return best;
}

constexpr FilterEntry kNumberFilters[] = {
    {"int", Int}, {"float", Float},        {"abs", Abs},           {"round", Round},
    {"sum", Sum}, {"min", Extreme<false>}, {"max", Extreme<true>},
};

}  // namespace

std::span<const FilterEntry> NumberFilters() { return kNumberFilters; }

}  // namespace millrace::jinja
