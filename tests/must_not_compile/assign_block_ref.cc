// error: (use of deleted function|overload resolution selected deleted operator)
#include "paged_kv/block_pool.h"

void Assign(millrace::BlockRef& to, const millrace::BlockRef& from) { to = from; }
