// What the others get wrong, done right: if this does not compile, their failures prove nothing.
#include <utility>

#include "base/id.h"
#include "base/result.h"
#include "paged_kv/block_pool.h"

namespace millrace {

Status Check();
Result<int> Compute();
void Use(TokenId token);

BlockRef Move(BlockRef&& block) { return std::move(block); }
BlockRef Share(const BlockRef& block) { return block.Share(); }
bool Run() { return Check().ok() && Compute().ok(); }
void UseFive() { Use(TokenId(5)); }
int32_t Number(TokenId token) { return token.value; }
bool Same(TokenId a, TokenId b) { return a == b; }

}  // namespace millrace
