// x86-64-v3: AVX2, 16 registers of 8 floats.
#include "common.hpp" // before the target changes: what it defines must run everywhere

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#else
#pragma GCC target("arch=x86-64-v3")
#endif
#define ISA v3
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#include "simd.hpp"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
