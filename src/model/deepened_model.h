// DeepenedModel: a model that computes the same function at N times the price, so that what saves
// steps can be measured with real text and a realistic price of a step.
//
// Invariant: logits are those of the source, bit for bit: every layer that is added copies one of
// the source's, but what it would add to the residual goes through matrices of zeros.
#pragma once

#include "base/result.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"

namespace millrace {

// `times` as many layers (at least 1). `file` and its bytes must outlive the writer. An error where
// the file has no count of layers.
Status AddDeepenedModel(const GgufFile& file, int32_t times, GgufWriter& writer);

}  // namespace millrace
