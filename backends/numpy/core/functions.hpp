// Functions of one number, and dropout, of flat arrays.
template <class T> void map(Function which, long n, const T *x, T *y) {
    for_ranges(n, 20, [=](long begin, long end) {
        const auto apply = [&](auto function) {
            for_vectors<T>(end - begin, [&](auto whole, long i, long left) {
                store_some<whole.value>(y + begin + i, function(load_some<whole.value>(x + begin + i, left)), left);
            });
        };
        switch (which) {
        case Function::erf: return apply([](Vec<T> v) { return erf<T>(v); });
        case Function::exp: return apply([](Vec<T> v) { return exp<T>(v); });
        case Function::expm1: return apply([](Vec<T> v) { return expm1<T>(v); });
        case Function::log: return apply([](Vec<T> v) { return log<T>(v); });
        case Function::sigmoid: return apply([](Vec<T> v) { return sigmoid<T>(v); });
        case Function::tanh: return apply([](Vec<T> v) { return tanh<T>(v); });
        }
    });
}

// y = x 65536 / keep where bits < keep, else x 0, which is NaN for NaN and infinity. The comparison is a factor, since
// GCC makes a branch of a choice between two numbers.
template <class T> void dropout(long n, const T *x, const std::uint16_t *bits, long keep, T *y) {
    const T scale = T(65536.0 / keep);
    const std::int32_t least = static_cast<std::int32_t>(keep);
    for_ranges(n, 4, [=](long begin, long end) {
#pragma GCC ivdep
        for (long i = begin; i < end; i++) y[i] = x[i] * (scale * T(std::int32_t(bits[i]) < least));
    });
}
