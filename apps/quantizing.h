// What the files behind `millrace quantize` share: its flags, and the model that is converted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conversion/importance.h"
#include "conversion/model_source.h"
#include "conversion/quantize_file.h"
#include "conversion/type_mix.h"
#include "documents.h"
#include "model_loading.h"

namespace millrace {

struct QuantizeFlags {
  ModelFlags model;  // .model is IN
  std::string out;
  std::string type;
  std::vector<std::string> tensors;  // PATTERN=TYPE
  std::string calibration;           // a text
  std::string importance;            // a file to read
  std::string save_importance;       // a file to write
  uint64_t budget = 0;               // bytes of OUT
  double max_kl = 0;
  std::string sensitivity = "auto";
  int64_t calibration_tokens = 50000;
  int64_t sensitivity_tokens = 4096;
  bool json = false;

  bool plans() const { return budget > 0 || max_kl > 0; }
};

// The source of a conversion, with what belongs to it.
struct Conversion {
  ModelSource source;
  std::vector<TensorRule> rules;
  std::optional<ImportanceMatrix> importance;
};

// A progress line on stderr where that is a terminal.
OnConversionProgress ConversionProgressLine();

// --budget and --max-kl: measures, plans, writes OUT and verifies it. `loaded` is the model of IN.
Status QuantizeByPlan(const QuantizeFlags& flags, Conversion& conversion, LoadedModel& loaded);

}  // namespace millrace
