// The dashboard, built into the binary: web/dist.
#pragma once

#include <string_view>
#include <vector>

#include "server/server.h"

namespace millrace {

std::vector<WebFile> EmbeddedWebFiles();
// What `millrace compare --json` said of the demo model in several precisions, with a note.
std::string_view EmbeddedComparison();

}  // namespace millrace
