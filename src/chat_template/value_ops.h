// Python's operations on values that need no interpreter: truth, equality, order, arithmetic, str()
// and repr(). All follow CPython 3; an operation that Python refuses throws a Failure with Python's
// wording.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat_template/budget.h"
#include "chat_template/value.h"

namespace millrace::jinja {

// The name of a Python type: "str", "dict", "NoneType".
std::string_view TypeName(const Value& value);
// Throws what using an undefined value throws; does nothing for any other value.
void RequireDefined(const Value& value);

bool Truthy(const Value& value);
// `budget` is charged for what is walked; null where the values are known to be small.
bool Equal(const Value& left, const Value& right, Budget* budget);
// left < right; throws where Python has no order between the two. `symbol` names the operator in
// the message.
bool Less(const Value& left, const Value& right, std::string_view symbol, Budget& budget);
enum class CompareOp { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
bool Compare(CompareOp op, const Value& left, const Value& right, Budget& budget);
bool Contains(const Value& container, const Value& item, Budget& budget);
// Charges for a tuple that is about to be hashed, and throws for what cannot be a key.
void CheckHashable(const Value& key, Budget& budget);

// int, float or bool as a number.
struct Number {
  bool is_float = false;
  int64_t integer = 0;
  double real = 0;  // always set
};
std::optional<Number> AsNumber(const Value& value);

enum class BinaryOp { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
// Numbers only; strings and sequences are the interpreter's.
Value Arithmetic(BinaryOp op, const Number& left, const Number& right);
std::string_view SymbolOf(BinaryOp op);

// str() and repr(), charged to the budget as they grow.
std::string Str(const Value& value, Budget& budget);
std::string Repr(const Value& value, Budget& budget);
// The same, appended to a text.
void AppendStr(const Value& value, std::string& out, Budget& budget);
void AppendRepr(const Value& value, std::string& out, Budget& budget);
// repr() of a string and of a float, for messages and JSON.
std::string ReprString(std::string_view text);
std::string ReprFloat(double value);

}  // namespace millrace::jinja
