// Value: what a chat template computes with; Python's none, bool, int, float, str, list, tuple,
// dict and Jinja's undefined, plus objects that only the interpreter makes (namespaces, macros,
// methods, loops).
//
// Invariant: strings, sequences and dicts never change once a Value holds them, so a copy is a
// shared pointer and a Value may be read from several threads. Only the interpreter's own objects
// and iterators have state; they live within one rendering. Integers are 64 bits wide; where Python
// would go beyond, the template fails.
//
// Nesting: every container knows its depth. The interpreter refuses to build, and Render refuses to
// take, values nested deeper than kMaxValueDepth, which bounds the recursion of everything that
// walks a value, its destructor included.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace millrace::jinja {

inline constexpr int kMaxValueDepth = 128;

class Value;
class Dict;
struct Sequence;
struct Object;  // objects.h: what only the interpreter makes

enum class ValueType { kUndefined, kNone, kBool, kInt, kFloat, kString, kSequence, kDict, kObject };

enum class SequenceKind {
  kList,
  kTuple,
  kRange,
  kIterator,  // what map, select, reverse and the like return: read once, never empty in a
              // condition
  kDictKeys,
  kDictValues,
  kDictItems,
  kGroup,  // what groupby makes: a pair with the attributes grouper and list
};

// A string and whether it is marked as safe HTML (the filters safe and escape).
struct Text {
  std::string bytes;
  bool safe = false;
};

class Value {
 public:
  Value() = default;  // undefined, without a name
  // `why` is the message of the error that using the value raises: "'x' is undefined".
  static Value Undefined(std::string why);
  static Value None() { return Value(Data(std::in_place_type<NoneTag>)); }
  static Value Bool(bool value) { return Value(Data(std::in_place_type<bool>, value)); }
  static Value Int(int64_t value) { return Value(Data(std::in_place_type<int64_t>, value)); }
  static Value Float(double value) { return Value(Data(std::in_place_type<double>, value)); }
  static Value String(std::string bytes);
  static Value SafeString(std::string bytes);
  static Value List(std::vector<Value> items);
  static Value Tuple(std::vector<Value> items);
  static Value FromSequence(SequenceKind kind, std::vector<Value> items);
  static Value Range(int64_t start, int64_t stop, int64_t step, std::vector<Value> items);
  static Value Map(Dict dict);
  static Value FromObject(std::shared_ptr<Object> object) { return Value(Data(std::move(object))); }

  ValueType type() const { return static_cast<ValueType>(data_.index()); }
  bool is_undefined() const { return type() == ValueType::kUndefined; }
  bool is_none() const { return type() == ValueType::kNone; }
  bool is_bool() const { return type() == ValueType::kBool; }
  bool is_int() const { return type() == ValueType::kInt; }
  bool is_float() const { return type() == ValueType::kFloat; }
  bool is_string() const { return type() == ValueType::kString; }
  bool is_sequence() const { return type() == ValueType::kSequence; }
  bool is_sequence(SequenceKind kind) const;
  bool is_dict() const { return type() == ValueType::kDict; }
  bool is_object() const { return type() == ValueType::kObject; }

  // Each needs the type to be the right one (std::get otherwise throws, a broken invariant).
  bool as_bool() const { return std::get<bool>(data_); }
  int64_t as_int() const { return std::get<int64_t>(data_); }
  double as_float() const { return std::get<double>(data_); }
  std::string_view as_string() const { return std::get<TextPointer>(data_)->bytes; }
  bool is_safe() const { return is_string() && std::get<TextPointer>(data_)->safe; }
  const Sequence& as_sequence() const { return *std::get<SequencePointer>(data_); }
  const Dict& as_dict() const { return *std::get<DictPointer>(data_); }
  Object& as_object() const { return *std::get<ObjectPointer>(data_); }
  std::shared_ptr<const Sequence> shared_sequence() const {
    return std::get<SequencePointer>(data_);
  }
  std::shared_ptr<Object> shared_object() const { return std::get<ObjectPointer>(data_); }
  // The message that using an undefined value raises.
  std::string_view undefined_message() const;

  // 0 for a scalar, 1 + the deepest element for a container.
  int depth() const;
  // Python's `is`: the same object, or the same none, bool or number.
  bool IsSame(const Value& other) const;

 private:
  friend struct ValueInternals;
  struct NoneTag {};
  using WhyPointer = std::shared_ptr<const std::string>;
  using TextPointer = std::shared_ptr<const Text>;
  using SequencePointer = std::shared_ptr<const Sequence>;
  using DictPointer = std::shared_ptr<const Dict>;
  using ObjectPointer = std::shared_ptr<Object>;
  // In the order of ValueType.
  using Data = std::variant<WhyPointer, NoneTag, bool, int64_t, double, TextPointer,
                            SequencePointer, DictPointer, ObjectPointer>;

  explicit Value(Data data) : data_(std::move(data)) {}

  Data data_;
};

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  std::vector<Value> items;
  int depth = 1;
  std::array<int64_t, 3> range{};  // start, stop, step of a kRange
  mutable size_t consumed = 0;     // of a kIterator: how many items were read
};

// A dict that keeps the order of insertion. Keys must be hashable (IsHashable); equal keys are one:
// 1, 1.0 and true.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  // Replaces the value of an equal key, which keeps its place.
  void Set(Value key, Value value);
  void Set(std::string_view key, Value value) {
    Set(Value::String(std::string(key)), std::move(value));
  }
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  int depth() const { return depth_; }

  static bool IsHashable(const Value& key);

 private:
  static constexpr size_t kLinearSize = 8;  // up to here a search walks the entries
  template <class Equals>
  const Entry* Lookup(size_t hash, Equals&& equals) const;
  void AddToTable(size_t hash, uint32_t index);
  void RebuildTable();

  std::vector<Entry> entries_;
  std::vector<uint32_t>
      table_;  // open addressing; index + 1 of an entry, 0 is free; size is a power of two
  int depth_ = 1;
};

}  // namespace millrace::jinja
