// Vectors of float or double, as wide as the instruction set allows, in the GNU vector extensions.

#define INLINE inline __attribute__((always_inline))
#define LAMBDA                                                                                                         \
    __attribute__((always_inline)) // of a function object of vectors: GCC forgets the instruction set of those

template <class T> struct Vectors {
    typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T> using Vec = typename Vectors<T>::type;

template <class T> constexpr long lanes = vector_bytes / sizeof(T);

template <class T> INLINE Vec<T> load(const T *p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class T> INLINE void store(T *p, Vec<T> v) { std::memcpy(p, &v, sizeof v); }

template <class T> INLINE Vec<T> broadcast(T value) { return value - Vec<T>{}; }

// The first n numbers at p, then those of v.
template <class T> INLINE Vec<T> load_partial(const T *p, long n, Vec<T> v = Vec<T>{}) {
#if VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4) v = (Vec<T>)_mm512_mask_loadu_ps((__m512)v, __mmask16((1u << n) - 1), p);
    else v = (Vec<T>)_mm512_mask_loadu_pd((__m512d)v, __mmask8((1u << n) - 1), p);
#else
    for (long i = 0; i < n; i++) v[i] = p[i];
#endif
    return v;
}

template <class T> INLINE void store_partial(T *p, Vec<T> v, long n) {
#if VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
#else
    for (long i = 0; i < n; i++) p[i] = v[i];
#endif
}

// A whole vector, or the first n numbers.
template <bool whole, class T> INLINE Vec<T> load_some(const T *p, long n, Vec<T> rest = Vec<T>{}) {
    return whole ? load(p) : load_partial(p, n, rest);
}
template <bool whole, class T> INLINE void store_some(T *p, Vec<T> v, long n) {
    if (whole) store(p, v);
    else store_partial(p, v, n);
}

// Call f(whole, i, n) for all vectors of `length` numbers: n numbers from the number i. `whole.value` is a constant for
// load_some and store_some.
template <class T, class Function> INLINE void for_vectors(long length, const Function &f) {
    long i = 0;
    for (; i + lanes<T> <= length; i += lanes<T>) f(std::true_type(), i, lanes<T>);
    if (i < length) f(std::false_type(), i, length - i);
}

// Three ways to combine two numbers.
struct Maximum {
    // NaN is larger than all numbers.
    template <class V> static INLINE V combine(V a, V b) { return ((a >= b) | (a != a)) ? a : b; }
};

struct Minimum {
    // NaN is smaller than all numbers.
    template <class V> static INLINE V combine(V a, V b) { return ((a <= b) | (a != a)) ? a : b; }
};

struct Sum {
    template <class V> static INLINE V combine(V a, V b) { return a + b; }
};

// A vector's numbers, combined half by half.
template <class T, int bytes> struct Halves {
    typedef T half __attribute__((vector_size(bytes / 2)));
    template <class Operation, class V> static INLINE T reduce(const V &v) {
        half halves[2];
        std::memcpy(halves, &v, bytes);
        return Halves<T, bytes / 2>::template reduce<Operation>(Operation::combine(halves[0], halves[1]));
    }
};
template <class T> struct Halves<T, sizeof(T)> {
    template <class Operation, class V> static INLINE T reduce(const V &v) { return v[0]; }
};
template <class T> INLINE T reduce_add(Vec<T> v) { return Halves<T, vector_bytes>::template reduce<Sum>(v); }
template <class T> INLINE T reduce_max(Vec<T> v) { return Halves<T, vector_bytes>::template reduce<Maximum>(v); }
template <class T> INLINE T reduce_min(Vec<T> v) { return Halves<T, vector_bytes>::template reduce<Minimum>(v); }

template <class T> T sum(const T *x, long n) {
    Vec<T> sums{};
    long i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) sums += load(x + i);
    return reduce_add<T>(i < n ? sums + load_partial(x + i, n - i) : sums);
}

// One step of a transposition: of each square of 2 step x 2 step numbers, exchange the upper right and the lower left
// one.
template <std::size_t step, class V, std::size_t... j> INLINE void exchange(V &a, V &b, std::index_sequence<j...>) {
    constexpr std::size_t n = sizeof...(j);
    const V upper = __builtin_shufflevector(a, b, (j & step ? n + j - step : j)...);
    b = __builtin_shufflevector(a, b, (j & step ? n + j : j + step)...);
    a = upper;
}

template <std::size_t step, class V, int n> INLINE void transpose_from(V (&rows)[n]) {
    if constexpr (step < n) {
#pragma GCC unroll 16
        for (int i = 0; i < n; i++)
            if (!(i & step)) exchange<step>(rows[i], rows[i + step], std::make_index_sequence<n>());
        transpose_from<2 * step>(rows);
    }
}

// to[c to_step + r] = from[r from_step + c] for a matrix of so many rows and columns.
template <class T> void transpose(const T *from, long from_step, long rows, long columns, T *to, long to_step) {
    constexpr long n = lanes<T>;
    long r = 0;
    for (; r + n <= rows; r += n) {
        long c = 0;
        for (; c < columns; c += n) {
            const long width = columns - c < n ? columns - c : n;
            Vec<T> block[n];
#pragma GCC unroll 16
            for (long i = 0; i < n; i++) {
                const T *p = from + (r + i) * from_step + c;
                block[i] = width == n ? load(p) : load_partial(p, width);
            }
            transpose_from<1>(block);
            for (long i = 0; i < width; i++) store(to + (c + i) * to_step + r, block[i]);
        }
    }
    for (; r < rows; r++)
        for (long c = 0; c < columns; c++) to[c * to_step + r] = from[r * from_step + c];
}
