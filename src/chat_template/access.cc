// The interpreter's operators on strings and sequences, and its access to attributes, items and
// slices.
#include <algorithm>

#include "chat_template/arguments.h"
#include "chat_template/escape.h"
#include "chat_template/failure.h"
#include "chat_template/format.h"
#include "chat_template/interpreter.h"
#include "chat_template/methods.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

// What `"x" + y` makes of two strings, one of which may be marked safe: the other is escaped then.
Value AddStrings(Interpreter& interpreter, const Value& left, const Value& right) {
  const bool safe = left.is_safe() || right.is_safe();
  const std::string escaped_left =
      safe && !left.is_safe() ? EscapeHtml(left.as_string()) : std::string();
  const std::string escaped_right =
      safe && !right.is_safe() ? EscapeHtml(right.as_string()) : std::string();
  const std::string_view a = safe && !left.is_safe() ? escaped_left : left.as_string();
  const std::string_view b = safe && !right.is_safe() ? escaped_right : right.as_string();
  interpreter.budget().Allocate(a.size() + b.size());
  std::string text;
  text.reserve(a.size() + b.size());
  text.append(a).append(b);
  return safe ? Value::SafeString(std::move(text)) : Value::String(std::move(text));
}

[[noreturn]] void FailOperands(BinaryOp op, const Value& left, const Value& right) {
  const std::string left_type(TypeName(left));
  const std::string right_type(TypeName(right));
  if (op == BinaryOp::kAdd && (left.is_string() || left.is_sequence(SequenceKind::kList) ||
                               left.is_sequence(SequenceKind::kTuple))) {
    Fail("can only concatenate " + left_type + " (not \"" + right_type + "\") to " + left_type);
  }
  Fail("unsupported operand type(s) for " + std::string(SymbolOf(op)) + ": '" + left_type +
       "' and '" + right_type + "'");
}

// The bounds of a Python slice over `length` items (PySlice_AdjustIndices).
struct SliceBounds {
  int64_t start;
  int64_t step;
  int64_t count;
};

int64_t ClampIndex(int64_t index, int64_t length, bool backwards) {
  if (index < 0) {
    index = index < -length ? -1 : index + length;
    if (index < 0) return backwards ? -1 : 0;
  }
  return std::min(index, backwards ? length - 1 : length);
}

int64_t SliceIndex(const Value& value) {
  if (!value.is_int() && !value.is_bool()) {
    RequireDefined(value);
    Fail("slice indices must be integers or None or have an __index__ method");
  }
  return AsIndex(value);
}

SliceBounds ResolveSlice(int64_t length, const Value& start, const Value& stop, const Value& step) {
  int64_t stride = step.is_none() ? 1 : SliceIndex(step);
  if (stride == 0) Fail("slice step cannot be zero");
  stride =
      std::clamp(stride, -length - 1, length + 1);  // a longer stride takes one item at most, too
  const bool backwards = stride < 0;
  const int64_t first = start.is_none() ? (backwards ? length - 1 : 0)
                                        : ClampIndex(SliceIndex(start), length, backwards);
  const int64_t last =
      stop.is_none() ? (backwards ? -1 : length) : ClampIndex(SliceIndex(stop), length, backwards);
  int64_t count = 0;
  if (backwards && last < first) count = (first - last - 1) / -stride + 1;
  if (!backwards && first < last) count = (last - first - 1) / stride + 1;
  return {first, stride, count};
}

std::string DescribeType(const Value& value) {
  if (value.is_none()) return "None";
  if (value.is_object()) {
    const std::string_view name = value.as_object().type_name();
    const std::string_view module =
        name == "LoopContext" || name == "Macro" ? "jinja2.runtime." : "jinja2.utils.";
    return std::string(module) + std::string(name) + " object";
  }
  return std::string(TypeName(value)) + " object";
}

Value UnsafeAttribute(const Value& object, std::string_view name) {
  return Value::Undefined("access to attribute '" + std::string(name) + "' of '" +
                          std::string(TypeName(object)) + "' object is unsafe.");
}

}  // namespace

Value Interpreter::Repeat(const Value& value, int64_t count) {
  const uint64_t times = count > 0 ? static_cast<uint64_t>(count) : 0;
  if (value.is_string()) {
    const std::string_view piece = value.as_string();
    budget_.AllocateMany(times, piece.size());
    std::string text;
    if (!piece.empty()) {
      text.reserve(piece.size() * times);
      for (uint64_t i = 0; i < times; ++i) text += piece;
    }
    return value.is_safe() ? Value::SafeString(std::move(text)) : Value::String(std::move(text));
  }
  const Sequence& sequence = value.as_sequence();
  budget_.AllocateMany(times, sequence.items.size() * sizeof(Value));
  std::vector<Value> items;
  if (!sequence.items.empty()) {
    budget_.Elements(sequence.items.size() * times);
    for (uint64_t i = 0; i < times; ++i)
      items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return MakeSequence(sequence.kind, std::move(items));
}

Value Interpreter::Binary(BinaryOp op, const Value& left, const Value& right) {
  if (op == BinaryOp::kAdd && left.is_string() && right.is_string())
    return AddStrings(*this, left, right);
  if (op == BinaryOp::kModulo && left.is_string()) return FormatPercent(*this, left, right);
  const std::optional<Number> left_number = AsNumber(left);
  const std::optional<Number> right_number = AsNumber(right);
  if (left_number && right_number) return Arithmetic(op, *left_number, *right_number);
  RequireDefined(left);
  RequireDefined(right);
  const auto repeatable = [](const Value& value) {
    return value.is_string() || value.is_sequence(SequenceKind::kList) ||
           value.is_sequence(SequenceKind::kTuple);
  };
  if (op == BinaryOp::kMultiply && repeatable(left) && right_number && !right_number->is_float) {
    return Repeat(left, right_number->integer);
  }
  if (op == BinaryOp::kMultiply && repeatable(right) && left_number && !left_number->is_float) {
    return Repeat(right, left_number->integer);
  }
  if (op == BinaryOp::kAdd && repeatable(left) && left.is_sequence() &&
      right.is_sequence(left.as_sequence().kind)) {
    const auto& tail = right.as_sequence().items;
    budget_.AllocateMany(left.as_sequence().items.size() + tail.size(), sizeof(Value));
    std::vector<Value> items = left.as_sequence().items;
    items.insert(items.end(), tail.begin(), tail.end());
    return MakeSequence(left.as_sequence().kind, std::move(items));
  }
  FailOperands(op, left, right);
}

std::optional<Value> Interpreter::FindItem(const Value& object, const Value& index) {
  if (object.is_dict()) {
    if (!Dict::IsHashable(index)) return std::nullopt;
    CheckHashable(index, budget_);
    const Value* found = object.as_dict().Find(index);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (!index.is_int() && !index.is_bool()) return std::nullopt;
  int64_t position = AsIndex(index);
  if (object.is_sequence()) {
    const Sequence& sequence = object.as_sequence();
    const bool indexable =
        sequence.kind == SequenceKind::kList || sequence.kind == SequenceKind::kTuple ||
        sequence.kind == SequenceKind::kRange || sequence.kind == SequenceKind::kGroup;
    if (!indexable) return std::nullopt;
    const auto size = static_cast<int64_t>(sequence.items.size());
    if (position < 0) position += size;
    if (position < 0 || position >= size) return std::nullopt;
    return sequence.items[static_cast<size_t>(position)];
  }
  if (object.is_string()) {
    const std::string_view text = object.as_string();
    budget_.Bytes(text.size());
    if (position < 0) position += static_cast<int64_t>(CodePointCount(text));
    if (position < 0) return std::nullopt;
    const std::string_view c = SubstringByCodePoints(text, static_cast<size_t>(position), 1);
    if (c.empty()) return std::nullopt;
    return MakeString(std::string(c));
  }
  return std::nullopt;
}

std::optional<Value> Interpreter::ObjectAttribute(const Object& object, std::string_view name) {
  if (const auto* space = std::get_if<NamespaceObject>(&object.data)) {
    const Value* found = space->attributes.Find(name);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (const auto* loop = std::get_if<LoopObject>(&object.data)) return LoopAttribute(*loop, name);
  if (const auto* cycler = std::get_if<CyclerObject>(&object.data)) {
    if (name == "current") return cycler->items[cycler->position];
  }
  if (const auto* macro = std::get_if<MacroObject>(&object.data)) {
    if (name == "name") return MakeString(macro->definition->name);
    if (name == "arguments") {
      std::vector<Value> names;
      for (const Parameter& parameter : macro->definition->parameters)
        names.push_back(MakeString(parameter.name));
      return MakeList(std::move(names));
    }
    if (name == "catch_kwargs") return Value::Bool(macro->definition->uses_kwargs);
    if (name == "catch_varargs") return Value::Bool(macro->definition->uses_varargs);
    if (name == "caller") return Value::Bool(macro->definition->uses_caller);
  }
  if (const auto* joiner = std::get_if<JoinerObject>(&object.data)) {
    if (name == "sep") return joiner->separator;
    if (name == "used") return Value::Bool(joiner->used);
  }
  return std::nullopt;
}

std::optional<Value> Interpreter::FindAttribute(const Value& object, std::string_view name) {
  if (object.is_object()) {
    if (std::optional<Value> found = ObjectAttribute(object.as_object(), name)) {
      return name.starts_with('_') ? UnsafeAttribute(object, name) : found;
    }
  }
  if (object.is_sequence(SequenceKind::kGroup)) {
    if (name == "grouper") return object.as_sequence().items[0];
    if (name == "list") return object.as_sequence().items[1];
  }
  if (const MethodEntry* method = FindMethod(object, name)) {
    if (method->function == nullptr) return UnsafeAttribute(object, name);
    return MakeObject(Object{MethodObject{object, method->function}});
  }
  return std::nullopt;
}

Value Interpreter::GetAttribute(const Value& object, std::string_view name) {
  RequireDefined(object);
  if (std::optional<Value> found = FindAttribute(object, name)) return *std::move(found);
  if (object.is_dict()) {
    if (const Value* found = object.as_dict().Find(name)) return *found;
  }
  return Value::Undefined("'" + DescribeType(object) + "' has no attribute '" + std::string(name) +
                          "'");
}

Value Interpreter::GetOnlyAttribute(const Value& object, std::string_view name) {
  if (std::optional<Value> found = FindAttribute(object, name)) return *std::move(found);
  return Value::Undefined("'" + DescribeType(object) + "' has no attribute '" + std::string(name) +
                          "'");
}

Value Interpreter::GetItem(const Value& object, const Value& index) {
  RequireDefined(object);
  if (std::optional<Value> found = FindItem(object, index)) return *std::move(found);
  if (index.is_string()) {
    if (std::optional<Value> found = FindAttribute(object, index.as_string()))
      return *std::move(found);
    return Value::Undefined("'" + DescribeType(object) + "' has no attribute " +
                            ReprString(index.as_string()));
  }
  return Value::Undefined(DescribeType(object) + " has no element " + Repr(index, budget_));
}

Value Interpreter::GetPath(const Value& object, const Value& path) {
  if (!path.is_string()) return path.is_none() ? object : GetItem(object, path);
  Value current = object;
  for (const std::string_view part : Split(path.as_string(), ".", -1)) {
    budget_.Step();
    const bool number = !part.empty() && std::all_of(part.begin(), part.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    const std::optional<int64_t> index = number ? ParsePythonInt(part, 10) : std::nullopt;
    current = GetItem(current, index ? Value::Int(*index) : Value::String(std::string(part)));
  }
  return current;
}

Value Interpreter::Slice(const Value& object, const Value& start, const Value& stop,
                         const Value& step) {
  RequireDefined(object);
  if (object.is_string()) {
    const std::string_view text = object.as_string();
    budget_.Allocate(text.size());
    const SliceBounds bounds =
        ResolveSlice(static_cast<int64_t>(CodePointCount(text)), start, stop, step);
    if (bounds.step == 1) {
      return MakeString(std::string(SubstringByCodePoints(text, static_cast<size_t>(bounds.start),
                                                          static_cast<size_t>(bounds.count))));
    }
    budget_.AllocateMany(text.size(), sizeof(std::string_view));
    const std::vector<std::string_view> characters = SplitCodePoints(text);
    std::string out;
    for (int64_t i = 0, at = bounds.start; i < bounds.count; ++i, at += bounds.step) {
      out += characters[static_cast<size_t>(at)];
    }
    return MakeString(std::move(out));
  }
  const bool sliceable =
      object.is_sequence(SequenceKind::kList) || object.is_sequence(SequenceKind::kTuple) ||
      object.is_sequence(SequenceKind::kRange) || object.is_sequence(SequenceKind::kGroup);
  if (!sliceable) return Value::Undefined(DescribeType(object) + " has no such slice");
  const Sequence& sequence = object.as_sequence();
  const SliceBounds bounds =
      ResolveSlice(static_cast<int64_t>(sequence.items.size()), start, stop, step);
  budget_.Elements(static_cast<size_t>(bounds.count));
  budget_.AllocateMany(static_cast<uint64_t>(bounds.count), sizeof(Value));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(bounds.count));
  for (int64_t i = 0, at = bounds.start; i < bounds.count; ++i, at += bounds.step) {
    items.push_back(sequence.items[static_cast<size_t>(at)]);
  }
  if (sequence.kind != SequenceKind::kRange) {
    return MakeSequence(
        sequence.kind == SequenceKind::kGroup ? SequenceKind::kTuple : sequence.kind,
        std::move(items));
  }
  const int64_t first = sequence.range[0];
  const int64_t stride = sequence.range[2];
  // Only repr() shows these; they may wrap where the range's own bounds are at the limits of 64
  // bits.
  const auto wrap = [](int64_t a, int64_t b, int64_t factor) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) +
                                static_cast<uint64_t>(b) * static_cast<uint64_t>(factor));
  };
  const int64_t new_start = wrap(first, bounds.start, stride);
  const int64_t new_step = wrap(0, stride, bounds.step);
  return Value::Range(new_start, wrap(new_start, bounds.count, new_step), new_step,
                      std::move(items));
}

}  // namespace millrace::jinja
