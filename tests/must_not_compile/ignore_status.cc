// error: ignoring return(ed)? value.*nodiscard
#include "base/result.h"

millrace::Status Check();
void Run() { Check(); }
