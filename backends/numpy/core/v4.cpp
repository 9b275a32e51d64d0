// x86-64-v4: AVX-512, 32 registers of 16 floats.
#include "common.hpp" // before the target changes: what it defines must run everywhere

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#else
#pragma GCC target("arch=x86-64-v4")
#endif
#define ISA v4
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#include "simd.hpp"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
