// What every processor of the platform has: SSE2, or NEON with 32 registers of 4 floats.
#include "common.hpp"

#define ISA baseline
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#define TILE_ROWS 12
#else
#define TILE_ROWS 6
#endif
#include "simd.hpp"
