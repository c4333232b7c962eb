// The parser's half for expressions, and how deep a tree may become.
#include <algorithm>

#include "chat_template/failure.h"
#include "chat_template/parser_internal.h"

namespace millrace::jinja {
namespace {

int Depth(const ExprPtr& expr) { return expr ? expr->depth : 0; }

int DepthOf(const Arguments& arguments) {
  int depth = std::max(Depth(arguments.spread), Depth(arguments.spread_named));
  for (const ExprPtr& argument : arguments.positional) depth = std::max(depth, Depth(argument));
  for (const auto& [name, argument] : arguments.named) depth = std::max(depth, Depth(argument));
  return depth;
}

// The deepest child of a node.
struct DeepestChild {
  int operator()(const ConstExpr&) const { return 0; }
  int operator()(const NameExpr&) const { return 0; }
  int operator()(const SequenceExpr& e) const { return Deepest(e.items); }
  int operator()(const DictExpr& e) const {
    int depth = 0;
    for (const auto& [key, value] : e.entries) depth = std::max({depth, Depth(key), Depth(value)});
    return depth;
  }
  int operator()(const UnaryExpr& e) const { return Depth(e.operand); }
  int operator()(const BinaryExpr& e) const { return std::max(Depth(e.left), Depth(e.right)); }
  int operator()(const ConcatExpr& e) const { return Deepest(e.parts); }
  int operator()(const LogicExpr& e) const { return std::max(Depth(e.left), Depth(e.right)); }
  int operator()(const CompareExpr& e) const {
    int depth = Depth(e.first);
    for (const auto& [op, operand] : e.rest) depth = std::max(depth, Depth(operand));
    return depth;
  }
  int operator()(const ConditionalExpr& e) const {
    return std::max({Depth(e.test), Depth(e.then), Depth(e.otherwise)});
  }
  int operator()(const AttributeExpr& e) const { return Depth(e.object); }
  int operator()(const SubscriptExpr& e) const { return std::max(Depth(e.object), Depth(e.index)); }
  int operator()(const SliceExpr& e) const {
    return std::max({Depth(e.start), Depth(e.stop), Depth(e.step)});
  }
  int operator()(const CallExpr& e) const {
    return std::max(Depth(e.callee), DepthOf(e.arguments));
  }
  int operator()(const FilterExpr& e) const {
    return std::max(Depth(e.input), DepthOf(e.arguments));
  }
  int operator()(const TestExpr& e) const { return std::max(Depth(e.input), DepthOf(e.arguments)); }

  static int Deepest(const std::vector<ExprPtr>& items) {
    int depth = 0;
    for (const ExprPtr& item : items) depth = std::max(depth, Depth(item));
    return depth;
  }
};

}  // namespace

ExprPtr Parser::Make(int line, Expr::Node node) const {
  const int depth = 1 + std::visit(DeepestChild{}, node);
  auto expr = std::make_unique<Expr>(Expr{line, depth, std::move(node)});
  if (depth > kMaxTreeDepth) {
    FailAtLine(line,
               "an expression nests deeper than " + std::to_string(kMaxTreeDepth) + " levels");
  }
  return expr;
}

bool Parser::AtTupleEnd(std::string_view end_name) const {
  const Token& token = Current();
  return token.type == TokenType::kVariableEnd || token.type == TokenType::kBlockEnd ||
         token.IsOperator(")") || (!end_name.empty() && token.IsName(end_name));
}

ExprPtr Parser::ParseTuple(Conditional conditional, std::string_view end_name,
                           bool in_parentheses) {
  const int line = Line();
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) ExpectOperator(",");
    if (AtTupleEnd(end_name)) break;
    items.push_back(conditional == Conditional::kAllowed ? ParseConditional() : ParseOr());
    if (!Current().IsOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items.front());
    if (!in_parentheses) FailUnexpected("an expression");
  }
  return Make(line, SequenceExpr{SequenceKind::kTuple, std::move(items)});
}

ExprPtr Parser::ParseConditional() {
  const Level level(*this);
  int line = Line();
  ExprPtr expr = ParseOr();
  while (SkipName("if")) {
    ExprPtr test = ParseOr();
    ExprPtr otherwise;
    if (SkipName("else")) otherwise = ParseConditional();
    expr = Make(line, ConditionalExpr{std::move(test), std::move(expr), std::move(otherwise)});
    line = Line();
  }
  return expr;
}

ExprPtr Parser::ParseOr() {
  const int line = Line();
  ExprPtr left = ParseAnd();
  while (SkipName("or")) {
    ExprPtr right = ParseAnd();
    left = Make(line, LogicExpr{LogicOp::kOr, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr Parser::ParseAnd() {
  const int line = Line();
  ExprPtr left = ParseNot();
  while (SkipName("and")) {
    ExprPtr right = ParseNot();
    left = Make(line, LogicExpr{LogicOp::kAnd, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr Parser::ParseNot() {
  const int line = Line();
  if (!SkipName("not")) return ParseCompare();
  const Level level(*this);
  return Make(line, UnaryExpr{UnaryOp::kNot, ParseNot()});
}

ExprPtr Parser::ParseCompare() {
  static constexpr std::pair<std::string_view, CompareOp> kOperators[] = {
      {"==", CompareOp::kEqual},        {"!=", CompareOp::kNotEqual}, {"<=", CompareOp::kLessEqual},
      {">=", CompareOp::kGreaterEqual}, {"<", CompareOp::kLess},      {">", CompareOp::kGreater}};
  const int line = Line();
  CompareExpr compare;
  compare.first = ParseSum();
  while (true) {
    const auto* found =
        std::find_if(std::begin(kOperators), std::end(kOperators),
                     [&](const auto& entry) { return Current().IsOperator(entry.first); });
    if (found != std::end(kOperators)) {
      Take();
      compare.rest.emplace_back(found->second, ParseSum());
    } else if (SkipName("in")) {
      compare.rest.emplace_back(CompareOp::kIn, ParseSum());
    } else if (Current().IsName("not") && Next().IsName("in")) {
      Take();
      Take();
      compare.rest.emplace_back(CompareOp::kNotIn, ParseSum());
    } else {
      break;
    }
  }
  if (compare.rest.empty()) return std::move(compare.first);
  return Make(line, std::move(compare));
}

ExprPtr Parser::ParseSum() {
  const int line = Line();
  ExprPtr left = ParseConcat();
  while (Current().IsOperator("+") || Current().IsOperator("-")) {
    const BinaryOp op = Take().text == "+" ? BinaryOp::kAdd : BinaryOp::kSubtract;
    ExprPtr right = ParseConcat();
    left = Make(line, BinaryExpr{op, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr Parser::ParseConcat() {
  const int line = Line();
  ConcatExpr concat;
  concat.parts.push_back(ParseProduct());
  while (SkipOperator("~")) concat.parts.push_back(ParseProduct());
  if (concat.parts.size() == 1) return std::move(concat.parts.front());
  return Make(line, std::move(concat));
}

ExprPtr Parser::ParseProduct() {
  static constexpr std::pair<std::string_view, BinaryOp> kOperators[] = {
      {"*", BinaryOp::kMultiply},
      {"/", BinaryOp::kDivide},
      {"//", BinaryOp::kFloorDivide},
      {"%", BinaryOp::kModulo}};
  const int line = Line();
  ExprPtr left = ParsePower();
  while (true) {
    const auto* found =
        std::find_if(std::begin(kOperators), std::end(kOperators),
                     [&](const auto& entry) { return Current().IsOperator(entry.first); });
    if (found == std::end(kOperators)) return left;
    Take();
    ExprPtr right = ParsePower();
    left = Make(line, BinaryExpr{found->second, std::move(left), std::move(right)});
  }
}

ExprPtr Parser::ParsePower() {
  const int line = Line();
  ExprPtr left = ParseUnary(Filters::kTaken);
  while (SkipOperator("**")) {
    ExprPtr right = ParseUnary(Filters::kTaken);
    left = Make(line, BinaryExpr{BinaryOp::kPower, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr Parser::ParseUnary(Filters filters) {
  const int line = Line();
  ExprPtr expr;
  if (Current().IsOperator("-") || Current().IsOperator("+")) {
    const Level level(*this);
    const UnaryOp op = Take().text == "-" ? UnaryOp::kMinus : UnaryOp::kPlus;
    expr = Make(line, UnaryExpr{op, ParseUnary(Filters::kLeft)});
  } else {
    expr = ParsePrimary();
  }
  expr = ParsePostfix(std::move(expr));
  return filters == Filters::kTaken ? ParseFilters(std::move(expr)) : std::move(expr);
}

ExprPtr Parser::ParseName() {
  const Token token = Take();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return Make(token.line, ConstExpr{Value::Bool(true)});
  if (name == "false" || name == "False") return Make(token.line, ConstExpr{Value::Bool(false)});
  if (name == "none" || name == "None") return Make(token.line, ConstExpr{Value::None()});
  const Symbol symbol = Intern(name);
  for (MacroDefinition* macro : macros_) {
    macro->uses_caller |= symbol == SymbolOf(KnownSymbol::kCaller);
    macro->uses_varargs |= symbol == SymbolOf(KnownSymbol::kVarargs);
    macro->uses_kwargs |= symbol == SymbolOf(KnownSymbol::kKwargs);
  }
  return Make(token.line, NameExpr{symbol});
}

ExprPtr Parser::ParsePrimary() {
  const int line = Line();
  switch (Current().type) {
    case TokenType::kName:
      return ParseName();
    case TokenType::kString: {
      std::string text = Take().text;
      while (Current().type == TokenType::kString) text += Take().text;
      return Make(line, ConstExpr{Value::String(std::move(text))});
    }
    case TokenType::kInteger:
      return Make(line, ConstExpr{Value::Int(Take().integer)});
    case TokenType::kFloat:
      return Make(line, ConstExpr{Value::Float(Take().real)});
    default:
      break;
  }
  if (SkipOperator("(")) {
    const Level level(*this);
    ExprPtr expr = ParseTuple(Conditional::kAllowed, {}, true);
    ExpectOperator(")");
    return expr;
  }
  if (Current().IsOperator("[")) return ParseList();
  if (Current().IsOperator("{")) return ParseDict();
  FailUnexpected("an expression");
}

ExprPtr Parser::ParseList() {
  const Level level(*this);
  const int line = Take().line;
  SequenceExpr list{SequenceKind::kList, {}};
  while (!Current().IsOperator("]")) {
    if (!list.items.empty()) ExpectOperator(",");
    if (Current().IsOperator("]")) break;
    list.items.push_back(ParseExpression());
  }
  ExpectOperator("]");
  return Make(line, std::move(list));
}

ExprPtr Parser::ParseDict() {
  const Level level(*this);
  const int line = Take().line;
  DictExpr dict;
  while (!Current().IsOperator("}")) {
    if (!dict.entries.empty()) ExpectOperator(",");
    if (Current().IsOperator("}")) break;
    ExprPtr key = ParseExpression();
    ExpectOperator(":");
    ExprPtr value = ParseExpression();
    dict.entries.emplace_back(std::move(key), std::move(value));
  }
  ExpectOperator("}");
  return Make(line, std::move(dict));
}

}  // namespace millrace::jinja
