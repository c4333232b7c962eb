// millrace inspect MODEL: what a GGUF file holds; with --logits, what the model computes for given
// tokens.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "model_loading.h"
#include "reporting.h"
#include "verbs.h"

namespace millrace {
namespace {

struct InspectFlags {
  ModelFlags model;
  bool json = false;
  bool tensors = false;
  std::string logits_path;
  std::string tokens;
  std::string adapter;
};

nlohmann::ordered_json Describe(const GgufFile& file) {
  nlohmann::ordered_json out;
  const auto architecture = file.FindString("general.architecture");
  const std::string prefix = architecture.ok() && *architecture ? std::string(**architecture) : "";
  out["file"] = file.name();
  out["gguf_version"] = file.version();
  out["architecture"] = prefix;
  if (const auto name = file.FindString("general.name"); name.ok() && *name) out["name"] = **name;
  for (const auto& [key, value] : file.metadata()) {
    if (prefix.empty() || key.substr(0, prefix.size() + 1) != prefix + ".") continue;
    const std::string short_key(key.substr(prefix.size() + 1));
    if (const auto* i = std::get_if<int64_t>(&value)) out["shape"][short_key] = *i;
    if (const auto* d = std::get_if<double>(&value)) out["shape"][short_key] = *d;
    if (const auto* b = std::get_if<bool>(&value)) out["shape"][short_key] = *b;
    if (const auto* s = std::get_if<std::string_view>(&value)) out["shape"][short_key] = *s;
  }
  if (const auto context = file.FindInt(prefix + ".context_length", 0, INT64_MAX);
      context.ok() && *context) {
    out["context_length"] = **context;
  }
  int64_t bytes = 0, parameters = 0;
  std::map<std::string, int64_t> types;
  for (const GgufTensor& t : file.tensors()) {
    bytes += static_cast<int64_t>(t.data.size());
    parameters += t.elements();
    ++types[std::string(NameOf(t.type))];
  }
  out["tensors"] = file.tensors().size();
  out["tensor_types"] = types;
  out["parameters"] = parameters;
  out["tensor_bytes"] = bytes;
  if (const GgufTensor* e = file.FindTensor("token_embd.weight")) out["vocab_size"] = e->rows();
  if (const auto model = file.FindString("tokenizer.ggml.model"); model.ok() && *model)
    out["tokenizer"] = **model;
  if (const auto pre = file.FindString("tokenizer.ggml.pre"); pre.ok() && *pre)
    out["pre_tokenizer"] = **pre;
  const auto chat_template = file.FindString("tokenizer.chat_template");
  out["chat_template"] = chat_template.ok() && chat_template->has_value();
  const auto config = ReadTransformerConfig(file);
  out["supported"] = config.ok();
  if (!config.ok()) out["unsupported_because"] = config.error().message;
  return out;
}

void PrintDescription(const nlohmann::ordered_json& description, const std::string& indent) {
  for (const auto& [key, value] : description.items()) {
    if (value.is_object()) {
      std::printf("%s%s:\n", indent.c_str(), key.c_str());
      PrintDescription(value, indent + "  ");
    } else {
      std::printf("%s%s: %s\n", indent.c_str(), key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
  }
}

void AddTensorList(const GgufFile& file, nlohmann::ordered_json& out) {
  for (const GgufTensor& t : file.tensors()) {
    out["tensor_list"].push_back(
        {{"name", t.name}, {"type", NameOf(t.type)}, {"shape", t.shape}, {"bytes", t.data.size()}});
  }
}

// Float32 logits of every position, row after row, to a file.
Status WriteLogits(const InspectFlags& flags) {
  ModelFlags model_flags = flags.model;
  model_flags.max_running = 1;
  if (!flags.adapter.empty()) model_flags.adapters = {"lora=" + flags.adapter};
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(model_flags));
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                   ParseTokenIds(flags.tokens, loaded.info.vocab_size));
  if (tokens.empty()) return Error{"--logits needs --tokens, such as --tokens 1,2,3"};
  ASSIGN_OR_RETURN(const KvPlan plan, PlanKv(model_flags, loaded));
  if (static_cast<int64_t>(tokens.size()) > plan.context_length) {
    return Error{"the prompt holds " + std::to_string(tokens.size()) + " tokens, but the context " +
                 std::to_string(plan.context_length) + ": raise --context"};
  }
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(loaded.info.kv_shape, loaded.kv_type, plan.blocks));
  std::vector<BlockId> table;
  for (int32_t b = 0; b < BlocksFor(static_cast<int32_t>(tokens.size())); ++b)
    table.push_back(BlockId(b));

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(
      std::fopen(flags.logits_path.c_str(), "wb"), std::fclose);
  if (!out)
    return Error{"cannot write " + flags.logits_path + ": " + std::strerror(errno), ErrorKind::kIo};
  const auto chunk = static_cast<size_t>(flags.model.prefill_chunk);
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const size_t count = std::min(chunk, tokens.size() - first);
    Batch batch;
    batch.sequences.push_back({std::span(tokens).subspan(first, count), static_cast<int32_t>(first),
                               table, static_cast<int32_t>(count)});
    if (!flags.adapter.empty()) batch.sequences[0].adapter = AdapterId(0);
    const MatrixView<const float> logits = loaded.model->Forward(batch, kv);
    const auto values = static_cast<size_t>(logits.rows * logits.columns);
    if (std::fwrite(logits.data, sizeof(float), values, out.get()) != values) {
      return Error{"cannot write " + flags.logits_path + ": " + std::strerror(errno),
                   ErrorKind::kIo};
    }
  }
  if (std::fflush(out.get()) != 0) {
    return Error{"cannot write " + flags.logits_path + ": " + std::strerror(errno), ErrorKind::kIo};
  }
  return {};
}

Status Inspect(const InspectFlags& flags) {
  if (!flags.logits_path.empty()) return WriteLogits(flags);
  ASSIGN_OR_RETURN(const MappedGguf mapped, OpenModelFile(flags.model));
  nlohmann::ordered_json description = Describe(mapped.file());
  if (flags.tensors) AddTensorList(mapped.file(), description);
  if (flags.json) {
    std::puts(description.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    PrintDescription(description, "");
  }
  return {};
}

}  // namespace

void AddInspectVerb(CommandLine& line) {
  auto flags = std::make_shared<InspectFlags>();
  Verb verb = line.AddVerb("inspect", "Show what a GGUF file holds, or the logits it computes");
  AddModelFlags(verb, flags->model);
  verb.Switch("--json", flags->json, "as JSON");
  verb.Switch("--tensors", flags->tensors, "list every tensor");
  verb.Option("--logits", flags->logits_path,
              "write float32 logits of every position of --tokens to this file");
  verb.Option("--tokens", flags->tokens, "token ids, such as 1,2,3");
  verb.Option("--lora", flags->adapter, "FILE[:SCALE]: the logits under this LoRA adapter (GGUF)")
      .Placeholder("FILE[:SCALE]");
  verb.OnParsed([flags] { return Inspect(*flags); });
}

}  // namespace millrace
