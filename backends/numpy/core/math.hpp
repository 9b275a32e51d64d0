// Elementary functions of vectors of float or double, for every number, infinity and NaN.
//
// Errors are a few units of the last place. Where nothing else is said, coefficients are those of Taylor's series: one
// or two more of them than the best polynomial needs, but they need no table.

template <class T> struct Format; // of IEEE 754
template <> struct Format<float> {
    typedef std::int32_t Int;
    static constexpr int fraction = 23, bias = 127;
    static constexpr float round = 0x1.8p23f, least_normal = 0x1p-126f;
    static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;  // n ln2_high is exact for small n
    static constexpr float exp_least = -105, exp_most = 89, expm1_least = -20; // results change no more
    static constexpr int exp_terms = 7, log_terms = 5, sin_terms = 5;
    static constexpr float half_pi[] = {0x1.92p+0f, 0x1.fb4p-12f, 0x1.444p-24f, 0x1.68c234p-39f}, sin_most = 8192;
    static constexpr float tanh_most = 9.02f;
    // clang-format off
    static constexpr float tanh_above[] = {1, 0.133826881f, 0.00349745832f, 2.063582e-05f, 1.33842663e-08f};
    static constexpr float tanh_below[] = {1, 0.467160093f, 0.0258843642f, 0.000328851783f, 7.79024341e-07f};
    static constexpr float erfcx_above[] = {1, 1.29823759f, 0.795898403f, 0.260486377f, 0.0395830250f};
    static constexpr float erfcx_below[] = {
        1, 2.42661857f, 2.53401748f, 1.44560787f, 0.461706850f, 0.0701589776f};
    // clang-format on
};
template <> struct Format<double> {
    typedef std::int64_t Int;
    static constexpr int fraction = 52, bias = 1023;
    static constexpr double round = 0x1.8p52, least_normal = 0x1p-1022;
    static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double exp_least = -746, exp_most = 710, expm1_least = -40;
    static constexpr int exp_terms = 13, log_terms = 11, sin_terms = 9;
    static constexpr double half_pi[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2e037073p-69}, sin_most = 1 << 20;
    static constexpr double tanh_most = 19.1;
    // clang-format off
    static constexpr double tanh_above[] = {
        1, 0.15180501005529795, 0.0059746600503049231, 9.3600857130906573e-05, 6.8300679736129338e-07,
        2.4401355998347815e-09, 4.1695542196993432e-12, 3.061674976625271e-15, 7.4055962637200216e-19,
        2.4971904475891292e-23};
    static constexpr double tanh_below[] = {
        1, 0.48513834338863071, 0.034354107846516629, 0.00082811165573824308, 8.7533020891424794e-06,
        4.4627895307085486e-08, 1.1108883854015658e-10, 1.2698013642362167e-13, 5.6268016518522262e-17,
        6.2147145845213799e-21};
    static constexpr double erfcx_above[] = {
        1, 2.1902760688610598, 2.3733213834959366, 1.6338212244343403, 0.77976039677490449, 0.26646502411436942,
        0.065191166403009026, 0.011048256913854577, 0.0011858908287125784, 6.2316728801004389e-05};
    static constexpr double erfcx_below[] = {
        1, 3.3186552359565588, 5.1180228145223770, 4.8424890871571342, 3.1223690058733808, 1.4388124482541708,
        0.48203299765015110, 0.11659930218670552, 0.019637752279088051, 0.0021019367660537004, 0.00011045352593953006};
    // clang-format on
};

template <class T> struct Integers {
    typedef typename Format<T>::Int type __attribute__((vector_size(vector_bytes)));
};
template <class T> using Ints = typename Integers<T>::type;

// NaN stays NaN.
template <class T> INLINE Vec<T> clamp(Vec<T> x, T least, T most) {
    x = x < least ? broadcast(least) : x;
    return x > most ? broadcast(most) : x;
}

// The number n, |n| < 2^(fraction - 1), as T, without the conversion of vectors that not every processor has.
template <class T> INLINE Vec<T> to_float(Ints<T> n) {
    return (Vec<T>)(n + (Ints<T>)broadcast(Format<T>::round)) - Format<T>::round;
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
        n = (Ints<T>)rounded - (Ints<T>)broadcast(F::round);
        r = x - whole * F::ln2_high - whole * F::ln2_low;
    }
};

// (e^r - 1) / r = Σ_k r^k / (k + 1)!
template <class T> INLINE Vec<T> exp_series(Vec<T> r) {
    double factor = 1;
#pragma GCC unroll 16
    for (int k = 2; k <= Format<T>::exp_terms; k++) factor /= k;
    Vec<T> sum = broadcast(T(factor));
#pragma GCC unroll 16
    for (int k = Format<T>::exp_terms; k > 1; k--) {
        factor *= k;
        sum = sum * r + T(factor);
    }
    return sum;
}

template <class T> INLINE Vec<T> exp(Vec<T> x) {
    const Reduced<T> a(clamp(x, Format<T>::exp_least, Format<T>::exp_most));
    const Ints<T> half = a.n >> 1; // In two factors: 2^n itself may overflow or be denormal where e^x is not.
    return (exp_series<T>(a.r) * a.r + T(1)) * power_of_two<T>(half) * power_of_two<T>(a.n - half);
}

// e^x - 1, without the loss of digits near 0.
template <class T> INLINE Vec<T> expm1(Vec<T> x) {
    const Reduced<T> a(clamp(x, Format<T>::expm1_least, Format<T>::exp_most));
    const Vec<T> rest = exp_series<T>(a.r) * a.r;  // e^r - 1
    const Vec<T> scale = power_of_two<T>(a.n - 1); // half of 2^n, which may overflow
    return a.n == 0 ? rest : (scale * rest + (scale - T(0.5))) * T(2);
}

template <class T> INLINE Vec<T> abs(Vec<T> x) { return (Vec<T>)((Ints<T>)x & ~(Ints<T>)broadcast(T(-0.0))); }

// P(x) / Q(x) for x >= 0, as functions below use it: the maximal relative error is the least possible, 2e-8 for float
// and 7e-17 for double, and coefficients are positive, so that no digits cancel.
template <class T, int n, int m> INLINE Vec<T> rational(Vec<T> x, const T (&above)[n], const T (&below)[m]) {
    Vec<T> p = broadcast(above[n - 1]), q = broadcast(below[m - 1]);
#pragma GCC unroll 16
    for (int k = n - 2; k >= 0; k--) p = p * x + above[k];
#pragma GCC unroll 16
    for (int k = m - 2; k >= 0; k--) q = q * x + below[k];
    return p / q;
}

// tanh x = x P(x²) / Q(x²) as far as `most`, from where it rounds to 1.
template <class T> INLINE Vec<T> tanh(Vec<T> x) {
    constexpr T most = Format<T>::tanh_most;
    const Vec<T> square = x * x > most * most ? broadcast(most * most) : x * x;
    return clamp<T>(x * rational<T>(square, Format<T>::tanh_above, Format<T>::tanh_below), -1, 1);
}

// e^(x²) (1 - erf x) for 0 <= x <= 29: from there on, e^(-x²) is 0.
template <class T> INLINE Vec<T> erfcx(Vec<T> x) {
    return rational<T>(x, Format<T>::erfcx_above, Format<T>::erfcx_below);
}

// 1 / (1 + e^-x), which is e^x / (1 + e^x): the exponential of -|x| cannot overflow.
template <class T> INLINE Vec<T> sigmoid(Vec<T> x) {
    const Vec<T> e = exp<T>(-abs<T>(x));
    return (x < T(0) ? e : broadcast(T(1))) / (T(1) + e);
}

// log x = n ln 2 + log m, √½ <= m < √2, and log m = 2 atanh f = 2 Σ_k f^(2k + 1) / (2k + 1) with f = (m - 1) / (m + 1).
template <class T> INLINE Vec<T> log(Vec<T> x) {
    typedef Format<T> F;
    const Vec<T> infinity = broadcast(std::numeric_limits<T>::infinity());
    const auto ordinary = (x > T(0)) & (x < infinity);
    const Vec<T> positive = ordinary ? x : broadcast(T(1)); // the bits of others would overflow
    const auto denormal = positive < F::least_normal;
    const Ints<T> bits = (Ints<T>)(denormal ? positive * T(1l << (F::fraction + 1)) : positive);
    Ints<T> n = (bits - (Ints<T>)broadcast(T(0.7071067811865476))) >> F::fraction;
    const Vec<T> m = (Vec<T>)(bits - (n << F::fraction));
    n -= denormal & (F::fraction + 1);
    const Vec<T> f = (m - T(1)) / (m + T(1)), square = f * f;
    Vec<T> sum = broadcast(T(0));
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
    return ((u > T(0)) & (u < std::numeric_limits<T>::infinity())) ? y - ((u - T(1)) - x) / u : y;
}

// Σ_k (-r²)^k / (first (first + 1) ... (first + 2 k + 1)), of cos (first = 1) and sin (first = 2) without their first
// term.
template <class T> INLINE Vec<T> sin_series(Vec<T> square, int first) {
    Vec<T> sum = broadcast(T(1));
#pragma GCC unroll 16
    for (int k = Format<T>::sin_terms; k > 0; k--) {
        const int n = first + 2 * k;
        sum = T(1) - sum * square * T(1.0 / (n * (n + 1)));
    }
    return sum * T(1.0 / (first * (first + 1)));
}

// sin (x + quadrant π/2) for |x| <= sin_most: x = n π/2 + r, |r| <= π/4. The products of n with the first parts of π/2
// are exact.
template <class T> INLINE Vec<T> sin(Vec<T> x, typename Format<T>::Int quadrant) {
    typedef Format<T> F;
    const Vec<T> rounded = x * T(0.6366197723675814) + F::round; // n in the last bits
    const Vec<T> whole = rounded - F::round;
    const Ints<T> n = (Ints<T>)rounded + quadrant;
    Vec<T> r = x;
    for (T part : F::half_pi) r -= whole * part;
    const Vec<T> square = r * r;
    const Vec<T> sine = r * (T(1) - square * sin_series<T>(square, 2));
    const Vec<T> cosine = T(1) - square * sin_series<T>(square, 1);
    const Vec<T> y = (n & 1) == 0 ? sine : cosine;
    return (n & 2) == 0 ? y : -y;
}
