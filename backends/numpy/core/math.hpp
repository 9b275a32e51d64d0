// Exponential functions and the logarithm of vectors of float or double, for every number, infinity and NaN.
//
// Errors are a few units of the last place. Coefficients are those of Taylor's series: one or two more of them than the
// best polynomial needs, but they need no table.

template <class T> struct Format; // of IEEE 754
template <> struct Format<float> {
    typedef std::int32_t Int;
    static constexpr int fraction = 23, bias = 127;
    static constexpr float round = 0x1.8p23f, least_normal = 0x1p-126f;
    static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f; // n ln2_high is exact for small n
    static constexpr float exp_least = -105, exp_most = 89, expm1_least = -20, tanh_most = 10; // results change no more
    static constexpr int exp_terms = 7, log_terms = 5;
};
template <> struct Format<double> {
    typedef std::int64_t Int;
    static constexpr int fraction = 52, bias = 1023;
    static constexpr double round = 0x1.8p52, least_normal = 0x1p-1022;
    static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double exp_least = -746, exp_most = 710, expm1_least = -40, tanh_most = 20;
    static constexpr int exp_terms = 13, log_terms = 11;
};

template <class T> struct Integers {
    typedef typename Format<T>::Int type __attribute__((vector_size(vector_bytes)));
};
template <class T> using Ints = typename Integers<T>::type;

// NaN stays NaN.
template <class T> INLINE Vec<T> clamp(Vec<T> x, T least, T most) {
    x = x < least ? spread(least) : x;
    return x > most ? spread(most) : x;
}

// The number n, |n| < 2^(fraction - 1), as T, without the conversion of vectors that not every processor has.
template <class T> INLINE Vec<T> to_float(Ints<T> n) {
    return (Vec<T>)(n + (Ints<T>)spread(Format<T>::round)) - Format<T>::round;
}

// 2^n where that is a normal number.
template <class T> INLINE Vec<T> power_of_two(Ints<T> n) {
    return (Vec<T>)((n + Format<T>::bias) << Format<T>::fraction);
}

// x = n ln 2 + r, |r| <= ln 2 / 2.
template <class T> struct Reduced {
    Ints<T> n;
    Vec<T> r;

    INLINE explicit Reduced(Vec<T> x) {
        typedef Format<T> F;
        const Vec<T> rounded = x * T(1.4426950408889634) + F::round; // n in the last bits
        const Vec<T> whole = rounded - F::round;
        n = (Ints<T>)rounded - (Ints<T>)spread(F::round);
        r = x - whole * F::ln2_high - whole * F::ln2_low;
    }
};

// (e^r - 1) / r = Σ_k r^k / (k + 1)!
template <class T> INLINE Vec<T> exp_series(Vec<T> r) {
    double factor = 1;
#pragma GCC unroll 16
    for (int k = 2; k <= Format<T>::exp_terms; k++) factor /= k;
    Vec<T> sum = spread(T(factor));
#pragma GCC unroll 16
    for (int k = Format<T>::exp_terms; k > 1; k--) {
        factor *= k;
        sum = sum * r + T(factor);
    }
    return sum;
}

template <class T> INLINE Vec<T> exp(Vec<T> x) {
    const Reduced<T> a(clamp(x, Format<T>::exp_least, Format<T>::exp_most));
    const Ints<T> half = a.n >> 1; // 2^n may be no normal number, where e^x is one or where it is denormal
    return (exp_series<T>(a.r) * a.r + T(1)) * power_of_two<T>(half) * power_of_two<T>(a.n - half);
}

// e^x - 1, without the loss of digits near 0.
template <class T> INLINE Vec<T> expm1(Vec<T> x) {
    const Reduced<T> a(clamp(x, Format<T>::expm1_least, Format<T>::exp_most));
    const Vec<T> rest = exp_series<T>(a.r) * a.r;  // e^r - 1
    const Vec<T> scale = power_of_two<T>(a.n - 1); // half of 2^n, which may overflow
    return a.n == 0 ? rest : (scale * rest + (scale - T(0.5))) * T(2);
}

template <class T> INLINE Vec<T> abs(Vec<T> x) { return (Vec<T>)((Ints<T>)x & ~(Ints<T>)spread(T(-0.0))); }

// tanh |x| = (e^2|x| - 1) / (e^2|x| + 1), with the sign of x.
template <class T> INLINE Vec<T> tanh(Vec<T> x) {
    const Vec<T> e = expm1<T>(clamp(abs<T>(x), T(0), Format<T>::tanh_most) * T(2));
    return (Vec<T>)((Ints<T>)(e / (e + T(2))) | ((Ints<T>)x & (Ints<T>)spread(T(-0.0))));
}

// 1 / (1 + e^-x), which is e^x / (1 + e^x): the exponential of -|x| cannot overflow.
template <class T> INLINE Vec<T> sigmoid(Vec<T> x) {
    const Vec<T> e = exp<T>(-abs<T>(x));
    return (x < T(0) ? e : spread(T(1))) / (T(1) + e);
}

// log x = n ln 2 + log m, √½ <= m < √2, and log m = 2 atanh f = 2 Σ_k f^(2k + 1) / (2k + 1) with f = (m - 1) / (m + 1).
template <class T> INLINE Vec<T> log(Vec<T> x) {
    typedef Format<T> F;
    const Vec<T> infinity = spread(std::numeric_limits<T>::infinity());
    const auto ordinary = (x > T(0)) & (x < infinity);
    const Vec<T> positive = ordinary ? x : spread(T(1)); // the bits of others would overflow
    const auto denormal = positive < F::least_normal;
    const Ints<T> bits = (Ints<T>)(denormal ? positive * T(1l << (F::fraction + 1)) : positive);
    Ints<T> n = (bits - (Ints<T>)spread(T(0.7071067811865476))) >> F::fraction;
    const Vec<T> m = (Vec<T>)(bits - (n << F::fraction));
    n -= denormal & (F::fraction + 1);
    const Vec<T> f = (m - T(1)) / (m + T(1)), square = f * f;
    Vec<T> sum = spread(T(0));
#pragma GCC unroll 16
    for (int k = F::log_terms; k > 0; k--) sum = (sum + T(2) / T(2 * k + 1)) * square;
    const Vec<T> whole = to_float<T>(n);
    const Vec<T> y = whole * F::ln2_high + (whole * F::ln2_low + f * sum + f * T(2));
    const Vec<T> special = x == T(0) ? -infinity : x < T(0) ? infinity - infinity : x;
    return ordinary ? y : special;
}

// log (1 + x): the rounding error of u = 1 + x is known, and the derivative of the logarithm is 1 / u.
template <class T> INLINE Vec<T> log1p(Vec<T> x) {
    const Vec<T> u = x + T(1), y = log<T>(u);
    return (u > T(0)) & (u < std::numeric_limits<T>::infinity()) ? y - ((u - T(1)) - x) / u : y;
}
