// error: (no matching function|could not convert|no viable conversion|cannot convert)
#include "base/id.h"

void Use(millrace::TokenId token);
void Run() { Use(5); }
