// What this machine can do at most, measured, so that a benchmark can say how near it comes: the
// roofline of Williams, Waterman and Patterson, CACM 52(4), 2009.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "simd/isa.h"

namespace millrace {

// Bytes per second that all threads of the pool together read from memory: the best of several
// sweeps over 512 MiB. Takes about a tenth of a second.
double MeasureReadBandwidth(ThreadPool& pool);

// Multiply-adds per second of 8-bit integers, all threads together, from registers: the best of
// several runs. 0 where the Isa has no such measurement (only AVX-512 VNNI has).
double MeasureInt8Peak(Isa isa, ThreadPool& pool);

}  // namespace millrace
