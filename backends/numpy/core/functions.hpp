// Functions of one number, of flat arrays.
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
