// x86-64-v4: AVX-512, 32 registers of 16 floats.
#include "common.hpp" // before the target changes: what it defines must run everywhere

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("arch=x86-64-v4")
#define ISA v4
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#include "simd.hpp"
#endif
