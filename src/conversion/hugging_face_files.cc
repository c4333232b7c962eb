#include "conversion/hugging_face_files.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace millrace {

Result<nlohmann::json> ReadJson(const std::filesystem::path& path, bool required) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (!required) return nlohmann::json();
    return Error{path.string() +
                     " is missing: give a Hugging Face folder with config.json, "
                     "tokenizer.json and *.safetensors",
                 ErrorKind::kNotFound};
  }
  auto parsed = nlohmann::json::parse(file, nullptr, false);
  if (parsed.is_discarded()) return Error{path.string() + " is no JSON: download it again"};
  return parsed;
}

Result<int64_t> Number(const nlohmann::json& config, const char* key,
                       std::optional<int64_t> fallback) {
  if (config.contains(key) && config[key].is_number_integer()) {
    const auto value = config[key].get<int64_t>();
    if (value >= 1 && value <= (int64_t{1} << 31)) return value;
    return Error{std::string("config.json: ") + key + " is " + std::to_string(value) +
                 ", which cannot be"};
  }
  if (fallback) return *fallback;
  return Error{std::string("config.json: ") + key + " is missing"};
}

double Real(const nlohmann::json& config, const char* key, double fallback) {
  return config.is_object() && config.contains(key) && config[key].is_number()
             ? config[key].get<double>()
             : fallback;
}

Result<std::vector<std::filesystem::path>> SafetensorsIn(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty())
    return Error{folder.string() + " holds no *.safetensors file", ErrorKind::kNotFound};
  return paths;
}

}  // namespace millrace
