// The namespaces of the prefix cache, of its disk tier and of waiting for a neighbour's prefix: a
// block belongs to whoever asked (the request's namespace) and to what computed it (the adapter).
//
// Invariant: equal results come of equal namespaces and adapters of equal identity alone.
#pragma once

#include <string>
#include <string_view>

#include "model/model.h"

namespace millrace {

// `adapter`: null for the base model, whose namespaces stay as they are (and so do the names of
// blocks on disk) unless they begin like an adapter's.
std::string SpaceOfBlocks(const AdapterInfo* adapter, std::string_view space);

// The request's namespace that SpaceOfBlocks was given.
std::string_view RequestSpaceOf(std::string_view space_of_blocks);

}  // namespace millrace
