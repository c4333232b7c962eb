// The syntax tree of a template: what the parser makes and the interpreter walks. Plain data, never
// changed once parsed, so one tree serves any number of threads.
//
// Invariant: no path from the root is longer than kMaxTreeDepth nodes, which bounds the recursion
// of every walk over the tree and of its destruction.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "chat_template/value.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {

inline constexpr int kMaxTreeDepth = 400;

using Symbol = uint32_t;  // index into Template::symbols

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<Stmt>;

struct FilterEntry;  // filters.h
struct TestEntry;    // tests.h

// The arguments of a call, a filter or a test: f(a, b, name=c, *spread, **spread_named).
struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr spread;
  ExprPtr spread_named;
};

struct ConstExpr {
  Value value;
};
struct NameExpr {
  Symbol symbol;
};
struct SequenceExpr {
  SequenceKind kind;  // kList or kTuple
  std::vector<ExprPtr> items;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
enum class UnaryOp { kPlus, kMinus, kNot };
struct UnaryExpr {
  UnaryOp op;
  ExprPtr operand;
};
struct BinaryExpr {
  BinaryOp op;
  ExprPtr left;
  ExprPtr right;
};
struct ConcatExpr {
  std::vector<ExprPtr> parts;
};
enum class LogicOp { kAnd, kOr };
struct LogicExpr {
  LogicOp op;
  ExprPtr left;
  ExprPtr right;
};
struct CompareExpr {
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;  // a < b < c is a chain
};
struct ConditionalExpr {
  ExprPtr test;
  ExprPtr then;
  ExprPtr otherwise;  // may be null: undefined
};
struct AttributeExpr {
  ExprPtr object;
  std::string name;
};
struct SubscriptExpr {
  ExprPtr object;
  ExprPtr index;
};
struct SliceExpr {  // only as the index of a SubscriptExpr; each part may be null
  ExprPtr start;
  ExprPtr stop;
  ExprPtr step;
};
struct CallExpr {
  ExprPtr callee;
  Arguments arguments;
};
struct FilterExpr {
  ExprPtr input;  // null: the text of the block that the filter stands on
  std::string name;
  const FilterEntry* filter;  // null: no such filter, an error when it is reached
  Arguments arguments;
};
struct TestExpr {
  ExprPtr input;
  std::string name;
  const TestEntry* test;  // null: no such test
  Arguments arguments;
};

struct Expr {
  using Node = std::variant<ConstExpr, NameExpr, SequenceExpr, DictExpr, UnaryExpr, BinaryExpr,
                            ConcatExpr, LogicExpr, CompareExpr, ConditionalExpr, AttributeExpr,
                            SubscriptExpr, SliceExpr, CallExpr, FilterExpr, TestExpr>;
  int line;
  int depth;  // 1 + the deepest child
  Node node;
};

// What may stand left of an assignment: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  struct Name {
    Symbol symbol;
  };
  struct Attribute {
    Symbol object;
    std::string name;
  };
  std::variant<Name, Attribute, std::vector<Target>> node;
};

struct Parameter {
  std::string name;
  Symbol symbol;
  ExprPtr default_value;  // may be null
};

struct MacroDefinition {
  std::string name;  // empty for the body of a call block
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

struct TextStmt {
  std::string text;
};
struct PrintStmt {
  ExprPtr value;
};
struct SetStmt {
  Target target;
  ExprPtr value;
};
struct SetBlockStmt {
  Target target;
  ExprPtr filter;  // may be null
  Body body;
};
struct IfStmt {
  struct Branch {
    ExprPtr test;  // null: else
    Body body;
  };
  std::vector<Branch> branches;
};
struct ForStmt {
  Target target;
  ExprPtr iterable;
  ExprPtr condition;  // may be null
  bool recursive = false;
  Body body;
  Body otherwise;
};
struct MacroStmt {
  Symbol symbol;
  std::shared_ptr<const MacroDefinition> macro;
};
struct CallStmt {
  std::shared_ptr<const MacroDefinition> caller;
  ExprPtr call;  // a CallExpr
};
struct FilterStmt {
  ExprPtr filter;
  Body body;
};
struct WithStmt {
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Body body;
};
struct ScopeStmt {  // block, autoescape and generation: a body with its own variables
  Body body;
};
struct BreakStmt {};
struct ContinueStmt {};

struct Stmt {
  int line;
  std::variant<TextStmt, PrintStmt, SetStmt, SetBlockStmt, IfStmt, ForStmt, MacroStmt, CallStmt,
               FilterStmt, WithStmt, ScopeStmt, BreakStmt, ContinueStmt>
      node;
};

// The names a macro's body may use without declaring them, and the loop's own; interned first, in
// this order.
enum class KnownSymbol : Symbol { kCaller, kVarargs, kKwargs, kLoop };
inline constexpr Symbol SymbolOf(KnownSymbol known) { return static_cast<Symbol>(known); }

struct Template {
  Body body;
  std::vector<std::string> symbols;  // every name of the template, once
};

}  // namespace millrace::jinja
