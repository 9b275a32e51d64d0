// Depthwise convolution: groups of one channel and one output, whose sums are too short for tiles.
//
//     y[p, g, n] = Σ_t w[t, g] x[p stride + t dilation - padding, g, n] + bias[g]
//
// Neighbouring output positions are computed for one group before the next one: the windows share most of their
// vectors, which then lie in the first cache.

template <class T> class Depthwise {
  public:
    static bool suits(const Convolution &s) { return s.groups > 1 && s.channels == 1 && s.outputs == 1; }

    explicit Depthwise(const Convolution &s)
        : s(s), in_row((s.output[2] + positions_each - 1) / positions_each), pieces(s.output[0] * s.output[1] * in_row),
          parts(parts_for(std::min(pieces, max_parts), pieces * positions_each * operations(s))) {}

    void conv(const T *x, const T *w, const T *bias, T *y) const {
        pool::run(parts, [&](long part) {
            for (long piece = part * pieces / parts; piece < (part + 1) * pieces / parts; piece++)
                for_windows(piece, [&](const long (&p)[3], long positions) {
                    Run<T> runs[max_window];
                    const long n_runs = runs_from(s, x, w, p, runs);
                    sum(runs, n_runs, positions, bias, y + index(p) * s.groups * s.images);
                });
        });
    }

    void input_gradient(const T *dy, const T *w, T *dx) const {
        for_positions(s.input, operations(s), [&](const long (&q)[3], long i) {
            Run<T> runs[max_window];
            const long n_runs = runs_to(s, dy, w, q, runs);
            sum(runs, n_runs, 1, nullptr, dx + i * s.groups * s.images);
        });
    }

    // dw[t, g] = Σ_p Σ_n x[p stride + t dilation - padding, g, n] dy[p, g, n], in vectors of partial sums. The number
    // of parts does not depend on that of threads: neither do the sums.
    void weight_gradient(const T *x, const T *dy, T *dw) const {
        const long size = volume(s.window) * s.groups;
        std::vector<std::vector<T>> sums(parts, std::vector<T>(size * lanes<T>));
        pool::run(parts, [&](long part) {
            for (long piece = part * pieces / parts; piece < (part + 1) * pieces / parts; piece++)
                for_windows(piece, [&](const long (&p)[3], long positions) {
                    Run<T> runs[max_window]; // pointers to dw, used as indices of the sums
                    long left = runs_from(s, x, dw, p, runs);
                    const Run<T> *next = runs;
                    const auto add = [&](auto taps) {
                        for (; left >= taps.value; left -= taps.value, next += taps.value)
                            add_products<taps.value>(next, positions, dw, dy + index(p) * s.groups * s.images,
                                                     sums[part].data());
                    };
                    add(std::integral_constant<int, 9>());
                    add(std::integral_constant<int, 3>());
                    add(std::integral_constant<int, 1>());
                });
        });
        for (long i = 0; i < size; i++) {
            Vec<T> sum = load(&sums[0][i * lanes<T>]);
            for (long part = 1; part < parts; part++) sum += load(&sums[part][i * lanes<T>]);
            dw[i] = reduce_add<T>(sum);
        }
    }

  private:
    static constexpr long positions_each = 4, max_parts = 16;
    const Convolution &s;
    const long in_row, pieces, parts;

    long index(const long (&p)[3]) const { return (p[0] * s.output[1] + p[1]) * s.output[2] + p[2]; }

    // Call f(p, n) for the output positions of a piece: n from p on.
    template <class Function> void for_windows(long piece, const Function &f) const {
        const long row = piece / in_row, begin = piece % in_row * positions_each;
        for_stretches(
            begin, std::min(begin + positions_each, s.output[2]), 1, [&](long q) { return is_interior(s, q); },
            [&](long q, long n) { f({row / s.output[1], row % s.output[1], q}, n); });
    }

    // y[g, n] = Σ_i w_i[g] x_i[g, n] + bias[g] at some positions, from the runs of the first.
    __attribute__((noinline)) void sum(const Run<T> *runs, long n_runs, long positions, const T *bias, T *y) const {
        const long all = s.groups * s.images;
        for (long group = 0; group < s.groups; group++)
            for (long p = 0; p < positions; p++) {
                const T added = bias ? bias[group] : T(0);
                const long x_shift = p * s.stride[2] * all + group * s.images;
                T *to = y + p * all + group * s.images;
                long n = 0;
                for (; n + 4 * lanes<T> <= s.images; n += 4 * lanes<T>)
                    sum_vectors<4, true>(runs, n_runs, group, x_shift + n, added, to + n, 0);
                for (; n + lanes<T> <= s.images; n += lanes<T>)
                    sum_vectors<1, true>(runs, n_runs, group, x_shift + n, added, to + n, 0);
                if (n < s.images) sum_vectors<1, false>(runs, n_runs, group, x_shift + n, added, to + n, s.images - n);
            }
    }

    template <int vectors, bool whole>
    static INLINE void sum_vectors(const Run<T> *runs, long n_runs, long group, long shift, T added, T *y, long last) {
        Vec<T> sums[vectors]{};
        for (long i = 0; i < n_runs; i++) {
            const Vec<T> factor = broadcast(runs[i].w[group]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sums[v] += factor * load_some<whole>(runs[i].x + shift + v * lanes<T>, last);
        }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) store_some<whole>(y + v * lanes<T>, sums[v] + added, last);
    }

    // Add the products for some taps, all groups and some positions to sums (taps, groups), vectors.
    template <int taps> void add_products(const Run<T> *runs, long positions, const T *dw, const T *dy, T *sums) const {
        const long all = s.groups * s.images;
        for (long group = 0; group < s.groups; group++) {
            Vec<T> block[taps];
            T *to[taps];
#pragma GCC unroll 9
            for (int i = 0; i < taps; i++) block[i] = load(to[i] = sums + (runs[i].w - dw + group) * lanes<T>);
            for (long p = 0; p < positions; p++) {
                const T *right = dy + p * all + group * s.images;
                const long shift = p * s.stride[2] * all + group * s.images;
                long n = 0;
                for (; n + lanes<T> <= s.images; n += lanes<T>) add_vector<true>(block, runs, shift + n, right + n, 0);
                if (n < s.images) add_vector<false>(block, runs, shift + n, right + n, s.images - n);
            }
#pragma GCC unroll 9
            for (int i = 0; i < taps; i++) store(to[i], block[i]);
        }
    }

    template <bool whole, int taps>
    static INLINE void add_vector(Vec<T> (&block)[taps], const Run<T> *runs, long shift, const T *right, long last) {
        const Vec<T> factor = load_some<whole>(right, last);
#pragma GCC unroll 9
        for (int i = 0; i < taps; i++) block[i] += load_some<whole>(runs[i].x + shift, last) * factor;
    }
};
