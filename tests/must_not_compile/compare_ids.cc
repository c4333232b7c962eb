// error: (no match for|invalid operands to binary)
#include "base/id.h"

bool Same(millrace::TokenId token, millrace::BlockId block) { return token == block; }
