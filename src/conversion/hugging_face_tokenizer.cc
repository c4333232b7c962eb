#include "conversion/hugging_face_tokenizer.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace millrace {
namespace {

using Json = nlohmann::json;

// GGUF's token types.
enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;  // "a b"
  std::map<std::string, int32_t, std::less<>> ids;
};

Error Wrong(const std::string& what) { return Error{"tokenizer.json: " + what}; }

Status ReadTokens(const Json& model, int64_t vocab_size, Vocabulary& v) {
  if (!model.contains("vocab") || !model["vocab"].is_object())
    return Wrong("it has no vocabulary of the BPE or WordPiece kind, which alone are supported");
  v.tokens.resize(static_cast<size_t>(vocab_size));
  v.types.assign(static_cast<size_t>(vocab_size), kUnused);
  for (const auto& [token, id] : model["vocab"].items()) {
    if (!id.is_number_unsigned() || id.get<int64_t>() >= vocab_size)
      return Wrong("token '" + token + "' lies outside the model's embedding");
    const auto i = id.get<size_t>();
    v.tokens[i] = token;
    const bool byte = token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
    v.types[i] = byte ? kByte : kNormal;
  }
  return {};
}

Status ReadAddedTokens(const Json& tokenizer, int64_t vocab_size, Vocabulary& v) {
  if (!tokenizer.contains("added_tokens") || !tokenizer["added_tokens"].is_array()) return {};
  for (const Json& token : tokenizer["added_tokens"]) {
    if (!token.is_object() || !token.contains("id") || !token["id"].is_number_unsigned() ||
        !token.contains("content") || !token["content"].is_string()) {
      return Wrong("an added token has no id or content");
    }
    if (token["id"].get<int64_t>() >= vocab_size) continue;  // never an output of this model
    const auto i = token["id"].get<size_t>();
    v.tokens[i] = token["content"].get<std::string>();
    v.types[i] = token.value("special", false) ? kControl : kUserDefined;
    if (v.tokens[i] == "<unk>") v.types[i] = kUnknown;
  }
  return {};
}

Status ReadMerges(const Json& model, Vocabulary& v) {
  if (!model.contains("merges") || !model["merges"].is_array()) return Wrong("it has no merges");
  for (const Json& merge : model["merges"]) {
    if (merge.is_string()) {
      v.merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      v.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      return Wrong("a merge is no pair of texts");
    }
  }
  return {};
}

void FillGaps(Vocabulary& v) {
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.types[i] == kUnused) v.tokens[i] = "[PAD" + std::to_string(i) + "]";
    v.ids[v.tokens[i]] = static_cast<int32_t>(i);
  }
}

// All regular expressions of the pre-tokenizer, one after the other.
std::string Patterns(const Json& node) {
  std::string text;
  if (!node.is_object()) return text;
  if (node.contains("pattern") && node["pattern"].is_object() &&
      node["pattern"].contains("Regex") && node["pattern"]["Regex"].is_string()) {
    text += node["pattern"]["Regex"].get<std::string>();
  }
  if (node.value("type", "") == "Digits") text += "<digits>";
  if (node.contains("pretokenizers") && node["pretokenizers"].is_array()) {
    for (const Json& child : node["pretokenizers"]) text += Patterns(child);
  }
  return text;
}

// The name under which GGUF readers know a way to cut words.
Result<std::string> PreTokenizer(const Json& tokenizer) {
  const std::string patterns =
      tokenizer.contains("pre_tokenizer") ? Patterns(tokenizer["pre_tokenizer"]) : "";
  if (patterns.empty()) return std::string("gpt-2");
  if (patterns == "<digits>") return std::string("smollm");
  const bool cuts_words = patterns.find("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+") != std::string::npos;
  if (cuts_words && patterns.find("\\p{N}{1,3}") != std::string::npos)
    return std::string("llama-bpe");
  if (cuts_words && patterns.find("|\\p{N}|") != std::string::npos) return std::string("qwen2");
  return Error{
      "tokenizer.json cuts words by a pattern that is not known here: " + patterns.substr(0, 120),
      ErrorKind::kUnsupported};
}

// The score of a token is minus the rank of the first merge that makes it.
std::vector<float> ScoresOf(const Vocabulary& v) {
  std::vector<float> scores(v.tokens.size(), -1e6f);
  for (size_t i = 0; i < scores.size(); ++i) {
    if (v.types[i] != kNormal) scores[i] = 0;
  }
  for (size_t rank = v.merges.size(); rank-- > 0;) {
    std::string joined = v.merges[rank];
    const size_t space = joined.find(' ');
    if (space == std::string::npos) continue;
    joined.erase(space, 1);
    const auto it = v.ids.find(joined);
    if (it != v.ids.end()) scores[static_cast<size_t>(it->second)] = -static_cast<float>(rank);
  }
  return scores;
}

// "<s>", or {"content": "<s>"}.
std::string TokenName(const Json& config, const char* key) {
  if (!config.is_object() || !config.contains(key)) return "";
  const Json& value = config[key];
  if (value.is_string()) return value.get<std::string>();
  return value.is_object() ? value.value("content", "") : "";
}

std::optional<int64_t> TokenNumber(const Json& config, const char* key) {
  if (!config.is_object() || !config.contains(key)) return std::nullopt;
  const Json& value = config[key];
  const Json& first = value.is_array() && !value.empty() ? value[0] : value;
  if (!first.is_number_unsigned()) return std::nullopt;
  return first.get<int64_t>();
}

void AddSpecialToken(const TokenizerFiles& files, const Vocabulary& v, const std::string& name,
                     MetadataEntries& out) {
  const auto it = v.ids.find(TokenName(files.tokenizer_config, (name + "_token").c_str()));
  std::optional<int64_t> id;
  if (it != v.ids.end()) id = it->second;
  if (!id) id = TokenNumber(files.config, (name + "_token_id").c_str());
  if (id && *id < static_cast<int64_t>(v.tokens.size()))
    out.AddU32("tokenizer.ggml." +
                   (name == "unk"   ? "unknown"
                    : name == "pad" ? "padding"
                                    : name) +
                   "_token_id",
               *id);
}

std::string ChatTemplateOf(const TokenizerFiles& files) {
  if (!files.chat_template.empty() || !files.tokenizer_config.is_object() ||
      !files.tokenizer_config.contains("chat_template")) {
    return files.chat_template;
  }
  const Json& value = files.tokenizer_config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return "";
  for (const Json& named : value) {
    if (named.is_object() && named.value("name", "") == "default")
      return named.value("template", "");
  }
  return "";
}

// Whether a normalizer anywhere puts a space before the text.
bool PrependsSpace(const Json& tokenizer) {
  return tokenizer.dump(-1, ' ', false, Json::error_handler_t::replace).find("\"Prepend\"") !=
             std::string::npos ||
         (tokenizer.contains("pre_tokenizer") && tokenizer["pre_tokenizer"].is_object() &&
          tokenizer["pre_tokenizer"].value("prepend_scheme", "") == "first");
}

// GGUF's forms: "the" -> "▁the", "##ing" -> "ing", names in brackets as they are.
void AddWordPieces(const TokenizerFiles& files, const Vocabulary& v, MetadataEntries& out) {
  std::vector<std::string> tokens = v.tokens;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (v.types[i] != kNormal || (token.starts_with("[") && token.ends_with("]"))) continue;
    token = token.starts_with("##") ? token.substr(2) : "\u2581" + token;
  }
  out.AddString("tokenizer.ggml.model", "bert");
  out.AddStrings("tokenizer.ggml.tokens", tokens);
  out.AddI32s("tokenizer.ggml.token_type", v.types);
  const std::pair<const char*, const char*> named[] = {{"unk", "unknown"},
                                                       {"cls", "cls"},
                                                       {"sep", "seperator"},
                                                       {"pad", "padding"},
                                                       {"mask", "mask"}};
  for (const auto& [name, gguf_name] : named) {
    std::string text = TokenName(files.tokenizer_config, (std::string(name) + "_token").c_str());
    if (text.empty()) {
      for (const char* c = name; *c != 0; ++c) text += static_cast<char>(*c - 'a' + 'A');
      text = "[" + text + "]";
    }
    const auto it = v.ids.find(text);
    if (it == v.ids.end()) continue;
    out.AddU32("tokenizer.ggml." + std::string(gguf_name) + "_token_id", it->second);
  }
  const Json none = Json::object();
  const Json& normalizer =
      files.tokenizer.contains("normalizer") && files.tokenizer["normalizer"].is_object()
          ? files.tokenizer["normalizer"]
          : none;
  for (const char* key : {"lowercase", "strip_accents"}) {
    if (normalizer.contains(key) && normalizer[key].is_boolean())
      out.AddBool("tokenizer.ggml.normalizer." + std::string(key), normalizer[key].get<bool>());
  }
}

}  // namespace

Status AddTokenizer(const TokenizerFiles& files, int64_t vocab_size, MetadataEntries& out) {
  if (!files.tokenizer.is_object() || !files.tokenizer.contains("model") ||
      !files.tokenizer["model"].is_object()) {
    return Wrong("it holds no model");
  }
  const Json& model = files.tokenizer["model"];
  Vocabulary v;
  RETURN_IF_ERROR(ReadTokens(model, vocab_size, v));
  RETURN_IF_ERROR(ReadAddedTokens(files.tokenizer, vocab_size, v));
  if (model.value("type", "") == "WordPiece") {
    FillGaps(v);
    AddWordPieces(files, v, out);
    return {};
  }
  RETURN_IF_ERROR(ReadMerges(model, v));
  FillGaps(v);
  const bool sentence_piece = model.contains("byte_fallback") && model["byte_fallback"] == true;
  out.AddString("tokenizer.ggml.model", sentence_piece ? "llama" : "gpt2");
  if (sentence_piece) {
    out.AddString("tokenizer.ggml.pre", "default");
    const std::vector<float> scores = ScoresOf(v);
    out.AddF32s("tokenizer.ggml.scores", scores);
    out.AddBool("tokenizer.ggml.add_space_prefix", PrependsSpace(files.tokenizer));
  } else {
    ASSIGN_OR_RETURN(const std::string pre, PreTokenizer(files.tokenizer));
    out.AddString("tokenizer.ggml.pre", pre);
    out.AddStrings("tokenizer.ggml.merges", v.merges);
  }
  out.AddStrings("tokenizer.ggml.tokens", v.tokens);
  out.AddI32s("tokenizer.ggml.token_type", v.types);
  for (const char* name : {"bos", "eos", "unk", "pad"}) {
    AddSpecialToken(files, v, name, out);
  }
  // Llama 3's tokenizer adds BOS in its post-processor; elsewhere the configuration says so.
  bool adds_bos = sentence_piece;
  if (files.tokenizer_config.is_object() && files.tokenizer_config.contains("add_bos_token") &&
      files.tokenizer_config["add_bos_token"].is_boolean()) {
    adds_bos = files.tokenizer_config["add_bos_token"].get<bool>();
  } else if (files.tokenizer.contains("post_processor")) {
    const std::string bos = TokenName(files.tokenizer_config, "bos_token");
    const std::string text =
        files.tokenizer["post_processor"].dump(-1, ' ', false, Json::error_handler_t::replace);
    adds_bos = !bos.empty() && text.find("\"" + bos + "\"") != std::string::npos;
  }
  out.AddBool("tokenizer.ggml.add_bos_token", adds_bos);
  const std::string chat_template = ChatTemplateOf(files);
  if (!chat_template.empty()) out.AddString("tokenizer.chat_template", chat_template);
  return {};
}

}  // namespace millrace
