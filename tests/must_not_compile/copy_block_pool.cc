// error: (use of deleted function|call to deleted constructor).*BlockPool
#include "paged_kv/block_pool.h"

void Copy(const millrace::BlockPool& pool) { millrace::BlockPool copy(pool); }
