// PDF -> text, by poppler's pdftotext: a process of its own, so that a hostile file harms nothing.
#pragma once

#include <string>

#include "base/result.h"

namespace millrace {

inline constexpr size_t kMostPdfText = size_t{256} << 20;  // bytes
inline constexpr int kPdfSeconds = 120;                    // of computing

// The text, pages parted by blank lines. The process has kPdfSeconds and 2 GiB of memory. Errors:
// no pdftotext, a file that cannot be read, is encrypted, damaged, takes too long or has no text.
Result<std::string> ReadPdf(const std::string& path);

}  // namespace millrace
