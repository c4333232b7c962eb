// Reading the files of a Hugging Face folder. Internal to conversion/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/result.h"

namespace millrace {

// Null where a file that is not required is missing.
Result<nlohmann::json> ReadJson(const std::filesystem::path& path, bool required);

// An integer from 1 to 2^31; errors name the key of config.json.
Result<int64_t> Number(const nlohmann::json& config, const char* key,
                       std::optional<int64_t> fallback = {});
double Real(const nlohmann::json& config, const char* key, double fallback);

// Sorted; none is an error.
Result<std::vector<std::filesystem::path>> SafetensorsIn(const std::filesystem::path& folder);

}  // namespace millrace
