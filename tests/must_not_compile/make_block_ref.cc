// error: (is private within this context|calling a private constructor)
// Only a pool hands out blocks.
#include "paged_kv/block_pool.h"

millrace::BlockRef Forge(millrace::BlockPool& pool) { return {&pool, millrace::BlockId(0)}; }
