#include "chat_template/value.h"

#include <algorithm>
#include <functional>

#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

size_t HashString(std::string_view text) { return std::hash<std::string_view>{}(text); }

size_t HashKey(const Value& key) {
  switch (key.type()) {
    case ValueType::kString:
      return HashString(key.as_string());
    case ValueType::kBool:
      return std::hash<double>{}(key.as_bool() ? 1.0 : 0.0);
    case ValueType::kInt:
      return std::hash<double>{}(static_cast<double>(key.as_int()));
    case ValueType::kFloat:
      return std::hash<double>{}(key.as_float());
    case ValueType::kSequence: {
      size_t hash = 0x345678;
      for (const Value& item : key.as_sequence().items) hash = (hash * 1000003) ^ HashKey(item);
      return hash;
    }
    case ValueType::kObject:
      return std::hash<const void*>{}(&key.as_object());
    default:
      return static_cast<size_t>(key.type()) * 0x9e3779b97f4a7c15u;
  }
}

int DepthOfItems(const std::vector<Value>& items) {
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  return deepest + 1;
}

}  // namespace

Value Value::Undefined(std::string why) {
  return Value(
      Data(std::in_place_type<WhyPointer>, std::make_shared<const std::string>(std::move(why))));
}

Value Value::String(std::string bytes) {
  return Value(Data(std::in_place_type<TextPointer>,
                    std::make_shared<const Text>(Text{std::move(bytes), false})));
}

Value Value::SafeString(std::string bytes) {
  return Value(Data(std::in_place_type<TextPointer>,
                    std::make_shared<const Text>(Text{std::move(bytes), true})));
}

Value Value::List(std::vector<Value> items) {
  return FromSequence(SequenceKind::kList, std::move(items));
}
Value Value::Tuple(std::vector<Value> items) {
  return FromSequence(SequenceKind::kTuple, std::move(items));
}

Value Value::FromSequence(SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  sequence->depth = DepthOfItems(items);
  sequence->items = std::move(items);
  return Value(Data(std::in_place_type<SequencePointer>, std::move(sequence)));
}

Value Value::Range(int64_t start, int64_t stop, int64_t step, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = SequenceKind::kRange;
  sequence->items = std::move(items);
  sequence->range = {start, stop, step};
  return Value(Data(std::in_place_type<SequencePointer>, std::move(sequence)));
}

Value Value::Map(Dict dict) {
  return Value(
      Data(std::in_place_type<DictPointer>, std::make_shared<const Dict>(std::move(dict))));
}

bool Value::is_sequence(SequenceKind kind) const {
  return is_sequence() && as_sequence().kind == kind;
}

std::string_view Value::undefined_message() const {
  const WhyPointer& why = std::get<WhyPointer>(data_);
  return why ? std::string_view(*why) : std::string_view("the value is undefined");
}

int Value::depth() const {
  if (is_sequence()) return as_sequence().depth;
  if (is_dict()) return as_dict().depth();
  return 0;
}

bool Value::IsSame(const Value& other) const {
  if (type() != other.type()) return false;
  switch (type()) {
    case ValueType::kUndefined:
      return std::get<WhyPointer>(data_) == std::get<WhyPointer>(other.data_);
    case ValueType::kNone:
      return true;
    case ValueType::kBool:
      return as_bool() == other.as_bool();
    case ValueType::kInt:
      return as_int() == other.as_int();
    case ValueType::kFloat:
      return as_float() == other.as_float();
    case ValueType::kString:
      return std::get<TextPointer>(data_) == std::get<TextPointer>(other.data_);
    case ValueType::kSequence:
      return &as_sequence() == &other.as_sequence();
    case ValueType::kDict:
      return &as_dict() == &other.as_dict();
    case ValueType::kObject:
      return &as_object() == &other.as_object();
  }
  return false;
}

bool Dict::IsHashable(const Value& key) {
  if (key.is_dict()) return false;
  if (!key.is_sequence()) return true;
  const Sequence& sequence = key.as_sequence();
  if (sequence.kind != SequenceKind::kTuple && sequence.kind != SequenceKind::kRange) return false;
  return std::all_of(sequence.items.begin(), sequence.items.end(), IsHashable);
}

template <class Equals>
const Dict::Entry* Dict::Lookup(size_t hash, Equals&& equals) const {
  if (table_.empty()) {
    for (const Entry& entry : entries_) {
      if (equals(entry.first)) return &entry;
    }
    return nullptr;
  }
  const size_t mask = table_.size() - 1;
  for (size_t slot = hash & mask; table_[slot] != 0; slot = (slot + 1) & mask) {
    const Entry& entry = entries_[table_[slot] - 1];
    if (equals(entry.first)) return &entry;
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  const size_t hash = table_.empty() ? 0 : HashString(key);
  const Entry* entry = Lookup(
      hash, [&](const Value& other) { return other.is_string() && other.as_string() == key; });
  return entry == nullptr ? nullptr : &entry->second;
}

const Value* Dict::Find(const Value& key) const {
  if (key.is_string()) return Find(key.as_string());
  const size_t hash = table_.empty() ? 0 : HashKey(key);
  const Entry* entry = Lookup(hash, [&](const Value& other) { return Equal(other, key, nullptr); });
  return entry == nullptr ? nullptr : &entry->second;
}

void Dict::Set(Value key, Value value) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  if (const Value* found = Find(key)) {
    *const_cast<Value*>(found) = std::move(value);  // points into our own entries_
    return;
  }
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() <= kLinearSize) return;
  if (entries_.size() * 2 > table_.size()) {
    RebuildTable();
  } else {
    AddToTable(HashKey(entries_.back().first), static_cast<uint32_t>(entries_.size()));
  }
}

void Dict::AddToTable(size_t hash, uint32_t index) {
  const size_t mask = table_.size() - 1;
  size_t slot = hash & mask;
  while (table_[slot] != 0) slot = (slot + 1) & mask;
  table_[slot] = index;
}

void Dict::RebuildTable() {
  size_t size = 32;
  while (size < entries_.size() * 4) size *= 2;
  table_.assign(size, 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    AddToTable(HashKey(entries_[i].first), static_cast<uint32_t>(i + 1));
  }
}

}  // namespace millrace::jinja
