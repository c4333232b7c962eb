#include "chat_template/value_ops.h"

#include <algorithm>
#include <cmath>

#include "chat_template/objects.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

std::string_view SequenceTypeName(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::kList:
      return "list";
    case SequenceKind::kTuple:
      return "tuple";
    case SequenceKind::kRange:
      return "range";
    case SequenceKind::kIterator:
      return "generator";
    case SequenceKind::kDictKeys:
      return "dict_keys";
    case SequenceKind::kDictValues:
      return "dict_values";
    case SequenceKind::kDictItems:
      return "dict_items";
    case SequenceKind::kGroup:
      return "_GroupTuple";
  }
  return "object";
}

void Charge(Budget* budget, size_t elements) {
  if (budget != nullptr) budget->Elements(elements);
}

bool EqualSequences(const Sequence& left, const Sequence& right, Budget* budget) {
  if (left.kind != right.kind || left.kind == SequenceKind::kIterator ||
      left.items.size() != right.items.size()) {
    return false;
  }
  Charge(budget, left.items.size());
  for (size_t i = 0; i < left.items.size(); ++i) {
    if (!left.items[i].IsSame(right.items[i]) && !Equal(left.items[i], right.items[i], budget))
      return false;
  }
  return true;
}

bool EqualDicts(const Dict& left, const Dict& right, Budget* budget) {
  if (left.size() != right.size()) return false;
  Charge(budget, left.size());
  for (const auto& [key, value] : left.entries()) {
    const Value* other = right.Find(key);
    if (other == nullptr || (!value.IsSame(*other) && !Equal(value, *other, budget))) return false;
  }
  return true;
}

bool EqualNumbers(const Number& left, const Number& right) {
  if (!left.is_float && !right.is_float) return left.integer == right.integer;
  return left.real == right.real;
}

bool LessSequences(const Sequence& left, const Sequence& right, std::string_view symbol,
                   Budget& budget) {
  const size_t common = std::min(left.items.size(), right.items.size());
  budget.Elements(common);
  for (size_t i = 0; i < common; ++i) {
    if (!Equal(left.items[i], right.items[i], &budget)) {
      return Less(left.items[i], right.items[i], symbol, budget);
    }
  }
  return left.items.size() < right.items.size();
}

}  // namespace

std::string_view TypeName(const Value& value) {
  switch (value.type()) {
    case ValueType::kUndefined:
      return "Undefined";
    case ValueType::kNone:
      return "NoneType";
    case ValueType::kBool:
      return "bool";
    case ValueType::kInt:
      return "int";
    case ValueType::kFloat:
      return "float";
    case ValueType::kString:
      return "str";
    case ValueType::kSequence:
      return SequenceTypeName(value.as_sequence().kind);
    case ValueType::kDict:
      return "dict";
    case ValueType::kObject:
      return value.as_object().type_name();
  }
  return "object";
}

void RequireDefined(const Value& value) {
  if (value.is_undefined()) Fail(std::string(value.undefined_message()));
}

bool Truthy(const Value& value) {
  switch (value.type()) {
    case ValueType::kUndefined:
    case ValueType::kNone:
      return false;
    case ValueType::kBool:
      return value.as_bool();
    case ValueType::kInt:
      return value.as_int() != 0;
    case ValueType::kFloat:
      return value.as_float() != 0;
    case ValueType::kString:
      return !value.as_string().empty();
    case ValueType::kSequence:
      return value.as_sequence().kind == SequenceKind::kIterator ||
             !value.as_sequence().items.empty();
    case ValueType::kDict:
      return !value.as_dict().empty();
    case ValueType::kObject:
      return true;
  }
  return false;
}

std::optional<Number> AsNumber(const Value& value) {
  switch (value.type()) {
    case ValueType::kBool:
      return Number{false, value.as_bool() ? 1 : 0, value.as_bool() ? 1.0 : 0.0};
    case ValueType::kInt:
      return Number{false, value.as_int(), static_cast<double>(value.as_int())};
    case ValueType::kFloat:
      return Number{true, 0, value.as_float()};
    default:
      return std::nullopt;
  }
}

bool Equal(const Value& left, const Value& right, Budget* budget) {
  if (left.is_string() && right.is_string()) {
    if (budget != nullptr)
      budget->Bytes(std::min(left.as_string().size(), right.as_string().size()));
    return left.as_string() == right.as_string();
  }
  const std::optional<Number> left_number = AsNumber(left);
  if (left_number) {
    const std::optional<Number> right_number = AsNumber(right);
    return right_number && EqualNumbers(*left_number, *right_number);
  }
  if (left.type() != right.type()) return false;
  switch (left.type()) {
    case ValueType::kUndefined:
    case ValueType::kNone:
      return true;
    case ValueType::kSequence:
      return left.IsSame(right) || EqualSequences(left.as_sequence(), right.as_sequence(), budget);
    case ValueType::kDict:
      return left.IsSame(right) || EqualDicts(left.as_dict(), right.as_dict(), budget);
    default:
      return left.IsSame(right);
  }
}

bool Less(const Value& left, const Value& right, std::string_view symbol, Budget& budget) {
  RequireDefined(left);
  RequireDefined(right);
  if (left.is_string() && right.is_string()) {
    budget.Bytes(std::min(left.as_string().size(), right.as_string().size()));
    return left.as_string() < right.as_string();  // the order of UTF-8 bytes is that of code points
  }
  const std::optional<Number> left_number = AsNumber(left);
  const std::optional<Number> right_number = AsNumber(right);
  if (left_number && right_number) {
    if (!left_number->is_float && !right_number->is_float)
      return left_number->integer < right_number->integer;
    return left_number->real < right_number->real;
  }
  if (left.is_sequence() && right.is_sequence() &&
      left.as_sequence().kind == right.as_sequence().kind &&
      (left.is_sequence(SequenceKind::kList) || left.is_sequence(SequenceKind::kTuple))) {
    return LessSequences(left.as_sequence(), right.as_sequence(), symbol, budget);
  }
  Fail("'" + std::string(symbol) + "' not supported between instances of '" +
       std::string(TypeName(left)) + "' and '" + std::string(TypeName(right)) + "'");
}

bool Contains(const Value& container, const Value& item, Budget& budget) {
  switch (container.type()) {
    case ValueType::kString:
      if (!item.is_string()) {
        Fail("'in <string>' requires string as left operand, not " + std::string(TypeName(item)));
      }
      budget.Bytes(container.as_string().size());
      return container.as_string().find(item.as_string()) != std::string_view::npos;
    case ValueType::kDict: {
      CheckHashable(item, budget);
      return container.as_dict().Find(item) != nullptr;
    }
    case ValueType::kSequence: {
      const Sequence& sequence = container.as_sequence();
      budget.Elements(sequence.items.size());
      const bool once = sequence.kind == SequenceKind::kIterator;
      for (size_t i = once ? sequence.consumed : 0; i < sequence.items.size(); ++i) {
        if (once) sequence.consumed = i + 1;
        if (sequence.items[i].IsSame(item) || Equal(sequence.items[i], item, &budget)) return true;
      }
      return false;
    }
    case ValueType::kUndefined:
      return false;
    default:
      Fail("argument of type '" + std::string(TypeName(container)) + "' is not iterable");
  }
}

bool Compare(CompareOp op, const Value& left, const Value& right, Budget& budget) {
  switch (op) {
    case CompareOp::kEqual:
      return Equal(left, right, &budget);
    case CompareOp::kNotEqual:
      return !Equal(left, right, &budget);
    case CompareOp::kLess:
      return Less(left, right, "<", budget);
    case CompareOp::kGreater:
      return Less(right, left, ">", budget);
    case CompareOp::kLessEqual:
      return Less(left, right, "<=", budget) || Equal(left, right, &budget);
    case CompareOp::kGreaterEqual:
      return Less(right, left, ">=", budget) || Equal(left, right, &budget);
    case CompareOp::kIn:
      return Contains(right, left, budget);
    case CompareOp::kNotIn:
      return !Contains(right, left, budget);
  }
  return false;
}

void CheckHashable(const Value& key, Budget& budget) {
  if (key.is_dict()) Fail("unhashable type: 'dict'");
  if (!key.is_sequence()) return;
  const Sequence& sequence = key.as_sequence();
  if (sequence.kind != SequenceKind::kTuple && sequence.kind != SequenceKind::kRange) {
    Fail("unhashable type: '" + std::string(TypeName(key)) + "'");
  }
  budget.Elements(sequence.items.size());
  for (const Value& item : sequence.items) CheckHashable(item, budget);
}

}  // namespace millrace::jinja
