// error: (cannot convert|no matching function|no viable conversion)
// Whether it worked must be asked for, not slip into a number.
#include "base/result.h"

millrace::Status Check();
int Run() { return Check(); }
