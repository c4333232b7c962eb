// How verbs report failure, and the small parsers that several of them share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace millrace {

// Prints "millrace: message" on stderr and returns the exit code for it.
int ReportError(const Error& error);

// "1,2,3" or "[1, 2, 3]" or numbers between white space; each must be in [0, vocab_size).
Result<std::vector<TokenId>> ParseTokenIds(std::string_view text, int32_t vocab_size);

// All of standard input. Refuses more than `limit` bytes.
Result<std::string> ReadStandardInput(size_t limit = size_t{64} << 20);

// The whole of a file.
Result<std::string> ReadFile(const std::string& path, size_t limit = size_t{64} << 20);

}  // namespace millrace
