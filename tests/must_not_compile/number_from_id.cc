// error: (cannot convert|no viable conversion)
#include "base/id.h"

int Number(millrace::TokenId token) { return token; }
