// error: ignoring return(ed)? value.*nodiscard
#include "base/result.h"

millrace::Result<int> Compute();
void Run() { Compute(); }
