#include "speculative_decoding/model_drafter.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "sampling/logit_scan.h"

namespace millrace {
namespace {

uint64_t Extend(uint64_t hash, TokenId token) {
  return Mix64(hash ^ Mix64(static_cast<uint64_t>(token.value) + 1)) | 1;  // never 0
}

uint64_t Seed(std::string_view space) {
  uint64_t hash = 0;
  for (const char c : space) hash = Mix64(hash ^ static_cast<unsigned char>(c));
  return hash;
}

// Whether the sampler only takes the largest of the model's own logits.
bool IsPlainGreedy(const SamplingParams& p) {
  return p.temperature == 0.0f && p.logit_bias.empty() && p.repetition_penalty == 1.0f &&
         p.presence_penalty == 0.0f && p.frequency_penalty == 0.0f;
}

}  // namespace

ModelDrafter::ModelDrafter(DraftModel draft, int32_t vocab_size)
    : draft_(std::move(draft)),
      vocab_size_(vocab_size),
      tags_(static_cast<size_t>(draft_.kv.blocks()) * kBlockTokens) {}

const std::vector<uint64_t>& ModelDrafter::HashesOf(const DraftTask& task) {
  auto at = std::find_if(sequences_.begin(), sequences_.end(),
                         [&](const Sequence& s) { return s.request == task.request; });
  if (at == sequences_.end()) {
    at = sequences_.insert(at, {.request = task.request, .hashes = {}});
  }
  std::vector<uint64_t>& hashes = at->hashes;
  uint64_t hash = hashes.empty() ? Seed(task.space) : hashes.back();
  for (size_t i = hashes.size(); i < task.tokens.size(); ++i) {
    hash = Extend(hash, task.tokens[i]);
    hashes.push_back(hash);
  }
  return hashes;
}

uint64_t& ModelDrafter::TagAt(const DraftTask& task, int32_t position) {
  const BlockId block = task.block_table[static_cast<size_t>(position / kBlockTokens)];
  return tags_[static_cast<size_t>(block.value) * kBlockTokens +
               static_cast<size_t>(position % kBlockTokens)];
}

// How many positions from the front hold what the sequence needs there.
int32_t ModelDrafter::Known(const DraftTask& task, const std::vector<uint64_t>& hashes) {
  const auto length = static_cast<int32_t>(task.tokens.size());
  int32_t known = 0;
  while (known < length && TagAt(task, known) == hashes[static_cast<size_t>(known)]) ++known;
  return known;
}

int32_t ModelDrafter::Unread(const DraftTask& task) {
  return static_cast<int32_t>(task.tokens.size()) - Known(task, HashesOf(task));
}

// Adds what the sequence has unread, as far as `rows` allow, to the batch; whether that is all.
bool ModelDrafter::Read(DraftTask& task, int32_t& rows, std::vector<Running>& running) {
  const std::vector<uint64_t>& hashes = HashesOf(task);
  const auto length = static_cast<int32_t>(task.tokens.size());
  // The last token's logits are wanted, even where it was read before.
  const int32_t first = std::min(Known(task, hashes), length - 1);
  const int32_t count = std::min(length - first, rows);
  if (count <= 0) return false;
  rows -= count;
  const bool all = first + count == length;
  for (int32_t i = first; i < first + count; ++i) {
    TagAt(task, i) = hashes[static_cast<size_t>(i)];
  }
  batch_.sequences.push_back(
      {.tokens = task.tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
       .first_position = first,
       .block_table = task.block_table,
       .logit_rows = all ? 1 : 0});
  rows_computed_ += count;
  if (!all) return false;
  running.push_back({.task = &task,
                     .tokens = {task.tokens.back()},
                     .hash = hashes.back(),
                     .sampler = {},
                     .matcher = {}});
  if (task.sampler == nullptr) return true;
  if (task.matcher != nullptr) running.back().matcher = *task.matcher;
  if (task.matcher != nullptr || !IsPlainGreedy(task.sampler->params())) {
    running.back().sampler = *task.sampler;
  }
  return true;
}

void ModelDrafter::Draft(std::span<DraftTask* const> tasks) {
  batch_.sequences.clear();
  std::vector<Running> running;
  int32_t rows = std::max(kReadRows, 2 * static_cast<int32_t>(tasks.size()));
  for (DraftTask* task : tasks) {
    task->draft.clear();
    task->confidence = 0;
    const auto length = static_cast<int32_t>(task->tokens.size());
    task->wanted = std::min(task->wanted, draft_.context_length - length);
    if (task->wanted > 0) Read(*task, rows, running);
  }
  if (batch_.sequences.empty()) return;
  MatrixView<const float> logits = draft_.model->Forward(batch_, draft_.kv);
  for (;;) {
    TakeTokens(running, logits);
    if (running.empty()) return;
    Continue(running);
    logits = draft_.model->Forward(batch_, draft_.kv);
  }
}

void ModelDrafter::ReadOn(std::span<DraftTask* const> tasks) {
  batch_.sequences.clear();
  std::vector<Running> ignored;
  int32_t rows = kReadRows;
  for (DraftTask* task : tasks) {
    if (static_cast<int32_t>(task->tokens.size()) <= draft_.context_length) {
      Read(*task, rows, ignored);
    }
  }
  if (!batch_.sequences.empty()) draft_.model->Forward(batch_, draft_.kv);
}

// One more token for each; those with as many as they want leave.
void ModelDrafter::TakeTokens(std::vector<Running>& running, MatrixView<const float> logits) {
  CHECK(logits.rows == static_cast<int64_t>(running.size()));
  for (size_t i = 0; i < running.size(); ++i) {
    const std::span row(logits.row(static_cast<int64_t>(i)), static_cast<size_t>(logits.columns));
    const TokenId token = Choose(running[i], row);
    running[i].task->draft.push_back(token);
    running[i].tokens.push_back(token);
  }
  std::erase_if(running, [](const Running& r) {
    return static_cast<int32_t>(r.task->draft.size()) >= r.task->wanted;
  });
}

TokenId ModelDrafter::Choose(Running& running, std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(vocab_size_);
  if (logits.size() < vocab) {
    padded_.assign(vocab, -std::numeric_limits<float>::infinity());
    std::copy(logits.begin(), logits.end(), padded_.begin());
    logits = padded_;
  }
  logits = logits.first(vocab);
  if (!running.sampler) return ArgMax(logits);
  const auto position = running.task->tokens.size() + running.task->draft.size();
  std::shared_ptr<const TokenMask> mask;
  if (running.matcher) {
    const auto allowed = running.matcher->Mask();
    if (allowed.ok()) mask = *allowed;
  }
  const TokenId token = running.sampler
                            ->Sample(logits, static_cast<int64_t>(position),
                                     mask ? mask->words() : std::span<const uint64_t>())
                            .token;
  running.sampler->Observe(token);
  if (running.matcher && !running.matcher->Take(token)) running.matcher.reset();
  return token;
}

// The batch of the tokens just drafted.
void ModelDrafter::Continue(std::vector<Running>& running) {
  batch_.sequences.clear();
  for (Running& r : running) {
    r.hash = Extend(r.hash, r.tokens.back());
    const auto position = static_cast<int32_t>(r.task->tokens.size() + r.task->draft.size()) - 1;
    TagAt(*r.task, position) = r.hash;
    batch_.sequences.push_back({.tokens = std::span(r.tokens).last(1),
                                .first_position = position,
                                .block_table = r.task->block_table,
                                .logit_rows = 1});
    ++rows_computed_;
  }
}

void ModelDrafter::Finish(RequestId request, std::string_view, std::span<const TokenId>, int32_t) {
  std::erase_if(sequences_, [&](const Sequence& s) { return s.request == request; });
}

void ModelDrafter::CopyBlock(BlockId from, BlockId to) {
  const auto at = [this](BlockId block) {
    return tags_.begin() + static_cast<std::ptrdiff_t>(block.value) * kBlockTokens;
  };
  if (std::all_of(at(from), at(from) + kBlockTokens, [](uint64_t tag) { return tag == 0; })) {
    std::fill(at(to), at(to) + kBlockTokens, 0);
    return;
  }
  draft_.kv.CopyBlock(from, to);
  std::copy(at(from), at(from) + kBlockTokens, at(to));
}

}  // namespace millrace
