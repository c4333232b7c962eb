#include "reporting.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

namespace millrace {
namespace {

Result<std::string> ReadAll(std::FILE* file, const std::string& name, size_t limit) {
  std::string text;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), file)) > 0;) {
    if (text.size() + n > limit) {
      return Error{name + " is longer than " + std::to_string(limit) + " bytes",
                   ErrorKind::kTooLarge};
    }
    text.append(buffer, n);
  }
  if (std::ferror(file) != 0)
    return Error{"cannot read " + name + ": " + std::strerror(errno), ErrorKind::kIo};
  return text;
}

}  // namespace

int ReportError(const Error& error) {
  std::fprintf(stderr, "millrace: %s\n", error.message.c_str());
  return error.kind == ErrorKind::kInvalidArgument ? 2 : 1;
}

Result<std::vector<TokenId>> ParseTokenIds(std::string_view text, int32_t vocab_size) {
  std::vector<TokenId> ids;
  const auto is_separator = [](char c) {
    return c == ',' || c == '[' || c == ']' || c == ' ' || c == '\n' || c == '\t' || c == '\r';
  };
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    if (is_separator(*p)) {
      ++p;
      continue;
    }
    int64_t id = 0;
    const auto [after, failure] = std::from_chars(p, end, id);
    if (failure != std::errc() || (after < end && !is_separator(*after))) {
      return Error{"'" + std::string(p, std::min<size_t>(16, static_cast<size_t>(end - p))) +
                   "' is no token id: give numbers such as 1,2,3"};
    }
    if (id < 0 || id >= vocab_size) {
      return Error{"token id " + std::to_string(id) + " is outside the vocabulary of " +
                   std::to_string(vocab_size)};
    }
    ids.push_back(TokenId(static_cast<int32_t>(id)));
    p = after;
  }
  return ids;
}

Result<std::string> ReadStandardInput(size_t limit) {
  return ReadAll(stdin, "standard input", limit);
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) return Error{"cannot open " + path + ": " + std::strerror(errno), ErrorKind::kIo};
  return ReadAll(file.get(), path, limit);
}

}  // namespace millrace
