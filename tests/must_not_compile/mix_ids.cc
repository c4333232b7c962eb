// error: (could not convert|no viable conversion|conversion from).*Id
#include "base/id.h"

millrace::BlockId Block(millrace::TokenId token) { return token; }
