// The parser's part for what may follow an operand: subscripts, calls, filters and tests.
#include "chat_template/filters.h"
#include "chat_template/parser_internal.h"
#include "chat_template/tests.h"

namespace millrace::jinja {

ExprPtr Parser::ParsePostfix(ExprPtr expr) {
  while (true) {
    if (Current().IsOperator(".") || Current().IsOperator("[")) {
      expr = ParseSubscript(std::move(expr));
    } else if (Current().IsOperator("(")) {
      expr = ParseCall(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::ParseFilters(ExprPtr expr) {
  while (true) {
    if (Current().IsOperator("|")) {
      expr = ParseFilterChain(std::move(expr), false);
    } else if (Current().IsName("is")) {
      expr = ParseTest(std::move(expr));
    } else if (Current().IsOperator("(")) {
      expr = ParseCall(std::move(expr));
    } else {
      return expr;
    }
  }
}

std::string Parser::ParseDottedName() {
  std::string name = ExpectAnyName();
  while (SkipOperator(".")) name += "." + ExpectAnyName();
  return name;
}

ExprPtr Parser::ParseFilterChain(ExprPtr input, bool first_without_pipe) {
  while (first_without_pipe || Current().IsOperator("|")) {
    if (!first_without_pipe) Take();
    first_without_pipe = false;
    const int line = Line();
    std::string name = ParseDottedName();
    Arguments arguments;
    if (Current().IsOperator("(")) arguments = ParseArguments();
    const FilterEntry* filter = FindFilter(name);
    input = Make(line, FilterExpr{std::move(input), std::move(name), filter, std::move(arguments)});
  }
  return input;
}

ExprPtr Parser::ParseTest(ExprPtr expr) {
  const int line = Take().line;  // is
  const bool negated = SkipName("not");
  std::string name = ParseDottedName();
  Arguments arguments;
  const Token& token = Current();
  const bool starts_operand = token.type == TokenType::kName || token.type == TokenType::kString ||
                              token.type == TokenType::kInteger ||
                              token.type == TokenType::kFloat || token.IsOperator("[") ||
                              token.IsOperator("{");
  if (token.IsOperator("(")) {
    arguments = ParseArguments();
  } else if (starts_operand && !token.IsName("else") && !token.IsName("or") &&
             !token.IsName("and")) {
    if (token.IsName("is")) FailHere("tests cannot be chained with 'is'");
    const Level level(*this);
    arguments.positional.push_back(ParsePostfix(ParsePrimary()));
  }
  const TestEntry* test = FindTest(name);
  ExprPtr result =
      Make(line, TestExpr{std::move(expr), std::move(name), test, std::move(arguments)});
  if (negated) result = Make(line, UnaryExpr{UnaryOp::kNot, std::move(result)});
  return result;
}

ExprPtr Parser::ParseSubscript(ExprPtr object) {
  const Token token = Take();
  if (token.text == ".") {
    if (Current().type == TokenType::kName) {
      return Make(token.line, AttributeExpr{std::move(object), Take().text});
    }
    if (Current().type != TokenType::kInteger) FailUnexpected("a name or a number behind '.'");
    ExprPtr index = Make(Line(), ConstExpr{Value::Int(Current().integer)});
    Take();
    return Make(token.line, SubscriptExpr{std::move(object), std::move(index)});
  }
  std::vector<ExprPtr> parts;
  while (!Current().IsOperator("]")) {
    if (!parts.empty()) ExpectOperator(",");
    parts.push_back(ParseSubscribed());
  }
  ExpectOperator("]");
  ExprPtr index = parts.size() == 1
                      ? std::move(parts.front())
                      : Make(token.line, SequenceExpr{SequenceKind::kTuple, std::move(parts)});
  return Make(token.line, SubscriptExpr{std::move(object), std::move(index)});
}

ExprPtr Parser::ParseSubscribed() {
  const int line = Line();
  ExprPtr parts[3];
  if (!Current().IsOperator(":")) {
    parts[0] = ParseExpression();
    if (!Current().IsOperator(":")) return std::move(parts[0]);
  }
  for (int i = 1; i < 3 && SkipOperator(":"); ++i) {
    if (!Current().IsOperator(":") && !Current().IsOperator("]") && !Current().IsOperator(",")) {
      parts[i] = ParseExpression();
    }
  }
  return Make(line, SliceExpr{std::move(parts[0]), std::move(parts[1]), std::move(parts[2])});
}

ExprPtr Parser::ParseCall(ExprPtr callee) {
  const int line = Line();
  Arguments arguments = ParseArguments();
  return Make(line, CallExpr{std::move(callee), std::move(arguments)});
}

Arguments Parser::ParseArguments() {
  const Level level(*this);
  const int line = Take().line;  // (
  Arguments arguments;
  const auto ensure = [&](bool valid) {
    if (!valid)
      FailAtLine(line, "a call's arguments are out of order: positional, named, *list, **dict");
  };
  bool first = true;
  while (!Current().IsOperator(")")) {
    if (!first) {
      ExpectOperator(",");
      if (Current().IsOperator(")")) break;
    }
    first = false;
    if (SkipOperator("*")) {
      ensure(!arguments.spread && !arguments.spread_named);
      arguments.spread = ParseExpression();
    } else if (SkipOperator("**")) {
      ensure(!arguments.spread_named);
      arguments.spread_named = ParseExpression();
    } else if (Current().type == TokenType::kName && Next().IsOperator("=")) {
      ensure(!arguments.spread_named);
      std::string name = Take().text;
      Take();
      arguments.named.emplace_back(std::move(name), ParseExpression());
    } else {
      ensure(!arguments.spread && !arguments.spread_named && arguments.named.empty());
      arguments.positional.push_back(ParseExpression());
    }
  }
  ExpectOperator(")");
  return arguments;
}

}  // namespace millrace::jinja
