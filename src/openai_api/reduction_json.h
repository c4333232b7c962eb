// What answers tell of passages, as JSON. Internal to openai_api/.
#pragma once

#include <span>

#include "openai_api/citations.h"
#include "openai_api/json_fields.h"
#include "openai_api/reduced_chat.h"

namespace millrace::openai_internal {

// usage.millrace.reduction.
Json ReductionJson(const ReductionReport& report);
// message.annotations: OpenAI's form of a citation, of a file that the request carried. `index` is
// the document's place in the request. The citations' numbers are of kept passages.
Json AnnotationsJson(const ReductionReport& report, std::span<const Citation> citations);

}  // namespace millrace::openai_internal
