// Filters over sequences and mappings: first, last, length, join, sort, unique, items, batch and
// the like.
#include <algorithm>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/interpreter.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

Value Default(Interpreter&, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("default", arguments, {"default_value", "boolean"});
  const bool replace = input.is_undefined() || (bound.Bool(1, false) && !Truthy(input));
  if (!replace) return input;
  return bound.Has(0) ? bound[0] : Value::String("");
}

Value Length(Interpreter& interpreter, const Value& input, const CallArguments&) {
  if (input.is_string()) return Value::Int(static_cast<int64_t>(CodePointCount(input.as_string())));
  if (input.is_dict()) return Value::Int(static_cast<int64_t>(input.as_dict().size()));
  if (input.is_sequence(SequenceKind::kIterator)) Fail("object of type 'generator' has no len()");
  if (!input.is_sequence() && !input.is_undefined())
    Fail("object of type '" + std::string(TypeName(input)) + "' has no len()");
  return Value::Int(static_cast<int64_t>(interpreter.Iterate(input)->items.size()));
}

Value First(Interpreter& interpreter, const Value& input, const CallArguments&) {
  const auto items = interpreter.Iterate(input);
  return items->items.empty() ? Value::Undefined("No first item, sequence was empty.")
                              : items->items.front();
}

Value Last(Interpreter& interpreter, const Value& input, const CallArguments&) {
  const auto items = interpreter.Iterate(input);
  return items->items.empty() ? Value::Undefined("No last item, sequence was empty.")
                              : items->items.back();
}

Value List(Interpreter& interpreter, const Value& input, const CallArguments&) {
  return interpreter.MakeList(interpreter.Iterate(input)->items);
}

Value Join(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound.Has(0) ? interpreter.ToStr(bound[0]) : "";
  std::string out;
  bool first = true;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    interpreter.budget().Step();
    const std::string text =
        interpreter.ToStr(bound.Get(1) ? interpreter.GetPath(item, bound[1]) : item);
    interpreter.budget().Allocate(text.size() + separator.size());
    if (!first) out += separator;
    out += text;
    first = false;
  }
  return interpreter.MakeString(std::move(out));
}

Value Reverse(Interpreter& interpreter, const Value& input, const CallArguments&) {
  if (input.is_string()) {
    const auto points = SplitCodePoints(input.as_string());
    std::string out;
    for (size_t i = points.size(); i-- > 0;) out += points[i];
    return interpreter.MakeString(std::move(out));
  }
  std::vector<Value> items = interpreter.Iterate(input)->items;
  std::reverse(items.begin(), items.end());
  return interpreter.MakeIterator(std::move(items));
}

Value Items(Interpreter& interpreter, const Value& input, const CallArguments&) {
  if (input.is_undefined()) return interpreter.MakeIterator({});
  if (!input.is_dict()) Fail("Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  for (const auto& [key, value] : input.as_dict().entries())
    pairs.push_back(interpreter.MakeTuple({key, value}));
  return interpreter.MakeIterator(std::move(pairs));
}

// A key to sort by: strings without case unless asked for.
Value SortKey(Interpreter& interpreter, Value value, bool case_sensitive) {
  if (!case_sensitive && value.is_string())
    return interpreter.MakeString(ToLower(value.as_string()));
  return value;
}

struct Keyed {
  std::vector<Value> keys;
  Value item;
};

void SortKeyed(Interpreter& interpreter, std::vector<Keyed>& keyed, bool reverse) {
  const auto less = [&](const Keyed& a, const Keyed& b) {
    interpreter.budget().Step();
    for (size_t i = 0; i < a.keys.size(); ++i) {
      if (Less(a.keys[i], b.keys[i], "<", interpreter.budget())) return true;
      if (Less(b.keys[i], a.keys[i], "<", interpreter.budget())) return false;
    }
    return false;
  };
  if (reverse) {  // stable in Python too: equal items keep their order
    std::stable_sort(keyed.begin(), keyed.end(),
                     [&](const Keyed& a, const Keyed& b) { return less(b, a); });
  } else {
    std::stable_sort(keyed.begin(), keyed.end(), less);
  }
}

Value Sort(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool exact = bound.Bool(1, false);
  std::vector<std::string> paths;
  if (bound.Get(2) && bound[2].is_string()) {
    for (const std::string_view part : Split(bound[2].as_string(), ",", -1))
      paths.emplace_back(part);
  }
  std::vector<Keyed> keyed;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    Keyed k{{}, item};
    if (!bound.Get(2)) {
      k.keys.push_back(SortKey(interpreter, item, exact));
    } else if (paths.empty()) {
      k.keys.push_back(SortKey(interpreter, interpreter.GetPath(item, bound[2]), exact));
    }
    for (const std::string& path : paths) {
      k.keys.push_back(SortKey(interpreter, interpreter.GetPath(item, Value::String(path)), exact));
    }
    keyed.push_back(std::move(k));
  }
  SortKeyed(interpreter, keyed, bound.Bool(0, false));
  std::vector<Value> out;
  for (Keyed& k : keyed) out.push_back(std::move(k.item));
  return interpreter.MakeList(std::move(out));
}

Value DictSort(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string_view by = bound.Get(1) ? bound.String(1) : "key";
  if (by != "key" && by != "value") Fail("You can only sort by either \"key\" or \"value\"");
  if (!input.is_dict())
    Fail("'" + std::string(TypeName(input)) + "' object has no attribute 'items'");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : input.as_dict().entries()) {
    keyed.push_back({{SortKey(interpreter, by == "key" ? key : value, bound.Bool(0, false))},
                     interpreter.MakeTuple({key, value})});
  }
  SortKeyed(interpreter, keyed, bound.Bool(2, false));
  std::vector<Value> out;
  for (Keyed& k : keyed) out.push_back(std::move(k.item));
  return interpreter.MakeList(std::move(out));
}

Value Unique(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("unique", arguments, {"case_sensitive", "attribute"});
  Dict seen;
  std::vector<Value> out;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    interpreter.budget().Step();
    const Value value = bound.Get(1) ? interpreter.GetPath(item, bound[1]) : item;
    const Value key = SortKey(interpreter, value, bound.Bool(0, false));
    CheckHashable(key, interpreter.budget());
    if (seen.Find(key) != nullptr) continue;
    interpreter.SetKey(seen, key, Value::None());
    out.push_back(item);
  }
  return interpreter.MakeIterator(std::move(out));
}

Value Batch(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = AsIndex(bound[0]);
  std::vector<Value> out, row;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    if (static_cast<int64_t>(row.size()) == size)
      out.push_back(interpreter.MakeList(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound.Get(1)) {
      interpreter.budget().AllocateMany(static_cast<uint64_t>(std::max<int64_t>(0, size)),
                                        sizeof(Value));
      while (static_cast<int64_t>(row.size()) < size) row.push_back(bound[1]);
    }
    out.push_back(interpreter.MakeList(std::move(row)));
  }
  return interpreter.MakeIterator(std::move(out));
}

Value SliceFilter(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t slices = AsIndex(bound[0]);
  if (slices <= 0) Fail("slice() needs a positive number of slices");
  const auto items = interpreter.Iterate(input);
  interpreter.budget().AllocateMany(static_cast<uint64_t>(slices), sizeof(Value));
  const auto length = static_cast<int64_t>(items->items.size());
  const int64_t each = length / slices, with_extra = length % slices;
  std::vector<Value> out;
  int64_t offset = 0;
  for (int64_t i = 0; i < slices; ++i) {
    const int64_t start = offset + i * each;
    if (i < with_extra) ++offset;
    const int64_t end = offset + (i + 1) * each;
    std::vector<Value> row(items->items.begin() + start, items->items.begin() + end);
    if (bound.Get(1) && i >= with_extra) row.push_back(bound[1]);
    out.push_back(interpreter.MakeList(std::move(row)));
  }
  return interpreter.MakeIterator(std::move(out));
}

Value Attr(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("attr", arguments, {"name"}, 1);
  RequireDefined(input);
  return interpreter.GetOnlyAttribute(input, bound.String(0));
}

constexpr FilterEntry kSequenceFilters[] = {
    {"default", Default}, {"d", Default},   {"length", Length},     {"count", Length},
    {"first", First},     {"last", Last},   {"list", List},         {"join", Join},
    {"reverse", Reverse}, {"items", Items}, {"sort", Sort},         {"dictsort", DictSort},
    {"unique", Unique},   {"batch", Batch}, {"slice", SliceFilter}, {"attr", Attr},
};

}  // namespace

std::span<const FilterEntry> SequenceFilters() { return kSequenceFilters; }

}  // namespace millrace::jinja
