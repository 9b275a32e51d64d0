// Dropout of flat arrays: y = x 65536 / keep where bits < keep, else x 0, which is NaN for NaN and infinity. The
// comparison is a factor, since GCC makes a branch of a choice between two numbers.

template <class T> void dropout(long n, const T *x, const std::uint16_t *bits, long keep, T *y) {
    const T scale = T(65536.0 / keep);
    const std::int32_t least = static_cast<std::int32_t>(keep);
    for_ranges(n, 4, [=](long begin, long end) {
        INDEPENDENT_ITERATIONS
        for (long i = begin; i < end; i++) y[i] = x[i] * (scale * T(std::int32_t(bits[i]) < least));
    });
}
