// The disk tier of the prefix cache: blocks go there when they are evicted and at the end, and come
// back before the request that begins with them is admitted. What came back is in the tree like
// anything else, so the scheduler knows nothing of disks.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/engine_state.h"

namespace millrace {
namespace {

// How long running requests may be kept from their next step by loading for others.
constexpr Duration kLoadBudget = std::chrono::milliseconds(20);

}  // namespace

void Engine::State::StartDisk() {
  disk_in_use = config.disk_use == EngineConfig::DiskUse::kAlways;
  if (!disk_in_use) {
    const Result<Duration> load = disk->MeasureLoad(clock);
    progress.disk_block_compute = MeasureCompute();
    if (load.ok()) progress.disk_block_load = *load;
    disk_in_use = load.ok() && *load < progress.disk_block_compute;
  }
  progress.disk_in_use = disk_in_use;
  progress.disk = disk->stats();
  if (!disk_in_use) return;
  tree->OnEvict([this](const KnownBlock& block) { StoreBlock(block, DiskTier::WhenFull::kDrop); });
}

// One block of tokens at the beginning, where computing is cheapest; the quickest of some, so that
// the weights have been touched and the threads are awake.
Duration Engine::State::MeasureCompute() {
  const std::vector<BlockRef> scratch = pool.TryAcquire(1).value();
  const std::vector<BlockId> table = {scratch[0].id()};
  const std::vector<TokenId> tokens(kBlockTokens, TokenId(0));
  Duration quickest = Duration::max();
  for (int i = 0; i < 4; ++i) {
    const TimePoint start = clock.Now();
    model->Forward(
        {{{.tokens = tokens, .first_position = 0, .block_table = table, .logit_rows = 0}}}, kv);
    quickest = std::min(quickest, clock.Now() - start);
  }
  return quickest;
}

void Engine::State::StoreBlock(const KnownBlock& block, DiskTier::WhenFull when_full) {
  disk->Store(block.chain, block.tokens, kv.BlockData(block.block), when_full);
}

void Engine::State::SaveToDisk() {
  if (!disk_in_use) return;
  tree->ForEachBlock(
      [this](const KnownBlock& block) { StoreBlock(block, DiskTier::WhenFull::kWait); });
  disk->Flush();
}

// Where a request's blocks take longer than the budget, it is held, and gets the rest before the
// next steps, unless nobody else is kept waiting by it.
void Engine::State::RestoreFromDisk() {
  if (!disk_in_use) return;
  const TimePoint deadline = clock.Now() + kLoadBudget;
  for (const RequestId id : scheduler.NextToAdmit()) {
    LiveRequest& request = live.at(id);
    if (request.restored || !request.prefix_cache) continue;
    const bool alone = scheduler.running() == 0;
    request.restored = RestoreOne(request, alone ? std::nullopt : std::optional(deadline));
    scheduler.Hold(id, !request.restored);
    if (!request.restored) return;
  }
}

// Brings the whole blocks that follow what the tree has of the prompt into the tree. False: the
// time is up and there is more.
bool Engine::State::RestoreOne(const LiveRequest& request, std::optional<TimePoint> deadline) {
  // All but the last token, as for every match.
  const auto tokens =
      std::span(request.tokens).first(static_cast<size_t>(request.timings.prompt_tokens - 1));
  PrefixTree::Match match = tree->Find(request.cache_space, tokens);
  const size_t known = match.blocks.size();
  std::vector<BlockRef>& blocks = match.blocks;
  const auto block_of = [&](size_t i) { return tokens.subspan(i * kBlockTokens, kBlockTokens); };
  Digest chain = ChainOf(request.cache_space);
  for (size_t i = 0; i < known; ++i) chain = ChainOf(chain, block_of(i));
  bool all = true;
  while ((blocks.size() + 1) * kBlockTokens <= tokens.size()) {
    const auto next = block_of(blocks.size());
    chain = ChainOf(chain, next);
    if (!disk->Contains(chain)) break;
    all = !deadline || clock.Now() < *deadline;
    if (!all) break;
    std::optional<BlockRef> block = LoadBlock(chain, next);
    if (!block) break;
    blocks.push_back(*std::move(block));
  }
  if (blocks.size() > known) {
    tree->Extend(match.cursor, request.cache_space, tokens.first(blocks.size() * kBlockTokens),
                 blocks);
    tree->Touch(match.cursor);
  }
  return all;
}

// Nothing: there is no memory that nobody uses, or the file was not right.
std::optional<BlockRef> Engine::State::LoadBlock(const Digest& chain,
                                                 std::span<const TokenId> tokens) {
  if (pool.available() == 0) tree->Evict(1);
  auto blocks = pool.TryAcquire(1);
  if (!blocks) return std::nullopt;
  const std::span<std::byte> memory = kv.BlockData((*blocks)[0].id());
  if (!disk->Load(chain, tokens, memory)) {
    // Attention reads slots that nobody has written, times zero: they must be finite numbers.
    std::fill(memory.begin(), memory.end(), std::byte{0});
    return std::nullopt;
  }
  return std::move((*blocks)[0]);
}

}  // namespace millrace
