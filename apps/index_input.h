// Files -> documents for a store.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "prompt_reduction/passage_store.h"

namespace millrace {

// Calls `take` with batches of what the file holds, of bounded size, and stops at its first error.
// FILE.jsonl: a document a line, {"id", "text", "title"}, the title optional; errors name the line,
// and the batches before it have been taken. Others are one document, whose id is the path:
// FILE.html and FILE.htm what a reader sees, FILE.md with its first heading as title, any other as
// it is.
Status ReadForIndex(const std::string& path,
                    const std::function<Status(std::span<const StoredDocument>)>& take);

}  // namespace millrace
