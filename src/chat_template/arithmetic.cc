// Python's arithmetic on int and float (Language Reference, 6.5 to 6.7): floor division and modulo
// round towards minus infinity, `/` is always a float, an int result past 64 bits is refused.
#include <cmath>
#include <limits>

#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

[[noreturn]] void FailOverflow() { Fail("an integer result does not fit in 64 bits"); }

int64_t FloorDivide(int64_t left, int64_t right) {
  if (right == 0) Fail("integer division or modulo by zero");
  if (left == std::numeric_limits<int64_t>::min() && right == -1) FailOverflow();
  const int64_t quotient = left / right;
  return (left % right != 0 && (left < 0) != (right < 0)) ? quotient - 1 : quotient;
}

int64_t Modulo(int64_t left, int64_t right) {
  if (right == 0) Fail("integer modulo by zero");
  if (right == -1) return 0;
  const int64_t remainder = left % right;
  return remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder;
}

double FloatModulo(double left, double right) {
  double remainder = std::fmod(left, right);
  if (remainder != 0) {
    if ((right < 0) != (remainder < 0)) remainder += right;
  } else {
    remainder = std::copysign(0.0, right);
  }
  return remainder;
}

double FloatFloorDivide(double left, double right) {
  const double remainder = FloatModulo(left, right);
  const double quotient = (left - remainder) / right;
  if (quotient == 0) return std::copysign(0.0, left / right);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) Fail("0.0 cannot be raised to a negative power");
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1) {
      if (__builtin_mul_overflow(result, base, &result)) FailOverflow();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) FailOverflow();
  }
  return Value::Int(result);
}

Value IntegerArithmetic(BinaryOp op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::kAdd:
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case BinaryOp::kSubtract:
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case BinaryOp::kMultiply:
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    case BinaryOp::kFloorDivide:
      result = FloorDivide(left, right);
      break;
    case BinaryOp::kModulo:
      result = Modulo(left, right);
      break;
    case BinaryOp::kPower:
      return IntegerPower(left, right);
    case BinaryOp::kDivide:
      if (right == 0) Fail("division by zero");
      return Value::Float(static_cast<double>(left) / static_cast<double>(right));
  }
  if (overflow) FailOverflow();
  return Value::Int(result);
}

}  // namespace

std::string_view SymbolOf(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
      return "+";
    case BinaryOp::kSubtract:
      return "-";
    case BinaryOp::kMultiply:
      return "*";
    case BinaryOp::kDivide:
      return "/";
    case BinaryOp::kFloorDivide:
      return "//";
    case BinaryOp::kModulo:
      return "%";
    case BinaryOp::kPower:
      return "** or pow()";
  }
  return "?";
}

Value Arithmetic(BinaryOp op, const Number& left, const Number& right) {
  if (!left.is_float && !right.is_float) return IntegerArithmetic(op, left.integer, right.integer);
  const double a = left.real;
  const double b = right.real;
  switch (op) {
    case BinaryOp::kAdd:
      return Value::Float(a + b);
    case BinaryOp::kSubtract:
      return Value::Float(a - b);
    case BinaryOp::kMultiply:
      return Value::Float(a * b);
    case BinaryOp::kDivide:
      if (b == 0) Fail("float division by zero");
      return Value::Float(a / b);
    case BinaryOp::kFloorDivide:
      if (b == 0) Fail("float floor division by zero");
      return Value::Float(FloatFloorDivide(a, b));
    case BinaryOp::kModulo:
      if (b == 0) Fail("float modulo");
      return Value::Float(FloatModulo(a, b));
    case BinaryOp::kPower: {
      if (a == 0 && b < 0) Fail("0.0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) {
        Fail("a negative number cannot be raised to a fractional power here");
      }
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        Fail("Numerical result out of range");
      return Value::Float(result);
    }
  }
  return Value();
}

}  // namespace millrace::jinja
