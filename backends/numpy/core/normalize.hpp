// Normalization: y = (x - mean) / √(variance + eps) weight + bias, and its gradient, of any groups of numbers.
// portanet/kernels/normalize.py has the formulas.
//
// In memory an array is (examples, rows, kept, reduced, width). There is a mean for each example and each place along
// `kept` and `width`: over the rows, and along `reduced`. The last three axes are the columns of a row. First each
// column is summed; then the sums of columns make the statistics, which are expanded to numbers for each column again.
// So every loop over numbers of the array runs over rows and columns, whatever the layout. Memory is read twice and
// written once; plain NumPy makes a pass for every operation.

constexpr long normalize_numbers = 4096; // of a block of rows, which stays in the first cache

// Numbers for each column: the sums, then what a row needs of the statistics.
template <class T> struct Columns {
    T *mean, *factor, *sums, *products, *scale, *scratch;
    static constexpr long count = 6;
    Columns(T *memory, long n)
        : mean(memory), factor(mean + n), sums(factor + n), products(sums + n), scale(products + n),
          scratch(scale + n) {}
};

// Σ_i f(i) of vectors, in four sums: an addition need not wait for the one before.
template <class T, class Function> INLINE Vec<T> sum_of(long n, const Function &f) {
    Vec<T> sums[4]{};
    long i = 0;
    for (; i + 4 <= n; i += 4)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) sums[j] += f(i + j);
    for (; i < n; i++) sums[0] += f(i);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Call f(whole, column, n, first, rows) for blocks of the rows [begin, end), one vector of columns after the other.
template <class T, class Function>
INLINE void for_blocks(const Normalization &s, long begin, long end, const Function &f) {
    const long most = std::max(8l, normalize_numbers / s.columns());
    for (long first = begin; first < end; first += most)
        for_vectors<T>(s.columns(), [&](auto whole, long column, long n) {
            f(whole, column, n, first, std::min(most, end - first));
        });
}

// to[k, w] = Σ_c f(whole, column (k, c, w), n) / divisor
template <class T, class Function> INLINE void reduce(const Normalization &s, T divisor, T *to, const Function &f) {
    for (long k = 0; k < s.kept; k++) {
        const long first = k * s.reduced * s.width;
        if (s.width > 1) {
            for_vectors<T>(s.width, [&](auto whole, long w, long n) {
                const auto at = [&](long c) LAMBDA { return f(whole, first + c * s.width + w, n); };
                store_some<whole.value>(to + k * s.width + w, sum_of<T>(s.reduced, at) / divisor, n);
            });
            continue;
        }
        Vec<T> sum{};
        for_vectors<T>(s.reduced, [&](auto whole, long c, long n) {
            T numbers[lanes<T>];
            store(numbers, f(whole, first + c, n));
            sum += load_some<whole.value>(numbers, n);
        });
        to[k] = reduce_add<T>(sum) / divisor;
    }
}

// to[k, c, w] = from[k, w]
template <class T> INLINE void expand(const Normalization &s, const T *from, T *to) {
    if (s.width == 1)
        for (long k = 0; k < s.kept; k++, to += s.reduced) std::fill_n(to, s.reduced, from[k]);
    else
        for (long k = 0; k < s.kept; k++, from += s.width)
            for (long c = 0; c < s.reduced; c++, to += s.width) std::memcpy(to, from, sizeof(T) * s.width);
}

// 1 / √v as √v / v: a variance that overflowed gives NaN, where 1 / √∞ = 0 would hide it.
template <class T> INLINE T inverse_root(T v) { return std::sqrt(v) / v; }

// scale = 1 / √(variance + eps)
template <class T> INLINE void inverse_std(const T *variance, long n, T eps, T *scale) {
    for (long i = 0; i < n; i++) scale[i] = inverse_root(variance[i] + eps);
}

// The sums of columns are their means and their squared differences from these, so that no digits cancel.
template <class T> struct Normalize {
    const Normalization &s;
    const T *x, *weight, *bias; // weight and bias for each column
    T eps, *y, *mean, *variance;
    bool given; // whether mean and variance are

    // The statistics of rows, and of some rows before, together.
    static INLINE void merge(Vec<T> &mean, Vec<T> &squares, long rows, Vec<T> mean_before, Vec<T> squares_before,
                             long before) {
        const Vec<T> change = mean - mean_before;
        const T share = T(rows) / T(before + rows);
        mean = mean_before + change * share;
        squares += squares_before + change * change * (share * before);
    }

    INLINE void sum(long example, long begin, long end, const Columns<T> &c) const {
        if (given) return;
        for_blocks<T>(s, begin, end, [&](auto whole, long column, long n, long first, long rows) {
            const T *p = x + (example * s.rows + first) * s.columns() + column;
            const auto at = [&](long r) LAMBDA { return load_some<whole.value>(p + r * s.columns(), n); };
            const auto square_at = [&](long r, Vec<T> center) LAMBDA { return (at(r) - center) * (at(r) - center); };
            Vec<T> m = sum_of<T>(rows, at) / T(rows);
            Vec<T> squares = sum_of<T>(rows, [&](long r) LAMBDA { return square_at(r, m); });
            if (first > begin)
                merge(m, squares, rows, load_some<whole.value>(c.sums + column, n),
                      load_some<whole.value>(c.products + column, n), first - begin);
            store_some<whole.value>(c.sums + column, m, n);
            store_some<whole.value>(c.products + column, squares, n);
        });
    }

    void add(const Columns<T> &to, long before, const Columns<T> &c, long rows) const {
        for_vectors<T>(given ? 0 : s.columns(), [&](auto whole, long i, long n) {
            Vec<T> m = load_some<whole.value>(c.sums + i, n), squares = load_some<whole.value>(c.products + i, n);
            merge(m, squares, rows, load_some<whole.value>(to.sums + i, n), load_some<whole.value>(to.products + i, n),
                  before);
            store_some<whole.value>(to.sums + i, m, n);
            store_some<whole.value>(to.products + i, squares, n);
        });
    }

    INLINE void combine(long example, long, const Columns<T> &c) const {
        T *means = mean + example * s.statistics(), *variances = variance + example * s.statistics();
        if (!given) {
            reduce<T>(s, T(s.reduced), means, [&](auto whole, long column, long n) LAMBDA {
                return load_some<whole.value>(c.sums + column, n);
            });
            expand(s, means, c.mean);
            reduce<T>(s, T(s.rows * s.reduced), variances, [&](auto whole, long column, long n) LAMBDA {
                const Vec<T> difference =
                    load_some<whole.value>(c.sums + column, n) - load_some<whole.value>(c.mean + column, n);
                return load_some<whole.value>(c.products + column, n) + T(s.rows) * difference * difference;
            });
        } else expand(s, means, c.mean);
        inverse_std(variances, s.statistics(), eps, c.scale);
        expand(s, c.scale, c.factor);
        for (long i = 0; i < s.columns(); i++) c.factor[i] *= weight[i];
    }

    INLINE void write(long example, long begin, long end, const Columns<T> &c) const {
        for_blocks<T>(s, begin, end, [&](auto whole, long column, long n, long first, long rows) {
            const long start = (example * s.rows + first) * s.columns() + column;
            const Vec<T> m = load_some<whole.value>(c.mean + column, n);
            const Vec<T> factor = load_some<whole.value>(c.factor + column, n);
            const Vec<T> b = load_some<whole.value>(bias + column, n);
            for (long i = start; i < start + rows * s.columns(); i += s.columns())
                store_some<whole.value>(y + i, (load_some<whole.value>(x + i, n) - m) * factor + b, n);
        });
    }
};

// The sums of columns are Σ dy and Σ dy (x - mean).
template <class T> struct NormalizeGradient {
    const Normalization &s;
    const T *dy, *x, *mean, *variance, *weight;
    T eps, *dx, *dweight, *dbias; // dweight and dbias for each part of the work and each column

    INLINE void sum(long example, long begin, long end, const Columns<T> &c) const {
        expand(s, mean + example * s.statistics(), c.mean);
        for_blocks<T>(s, begin, end, [&](auto whole, long column, long n, long first, long rows) {
            const long start = (example * s.rows + first) * s.columns() + column;
            const Vec<T> m = load_some<whole.value>(c.mean + column, n);
            const auto dy_at = [&](long r) LAMBDA { return load_some<whole.value>(dy + start + r * s.columns(), n); };
            const auto product_at = [&](long r) LAMBDA {
                return dy_at(r) * (load_some<whole.value>(x + start + r * s.columns(), n) - m);
            };
            Vec<T> sums = sum_of<T>(rows, dy_at), products = sum_of<T>(rows, product_at);
            if (first > begin) {
                sums += load_some<whole.value>(c.sums + column, n);
                products += load_some<whole.value>(c.products + column, n);
            }
            store_some<whole.value>(c.sums + column, sums, n);
            store_some<whole.value>(c.products + column, products, n);
        });
    }

    void add(const Columns<T> &to, long, const Columns<T> &c, long) const {
        add_rows(c.sums, s.columns(), 1, s.columns(), to.sums);
        add_rows(c.products, s.columns(), 1, s.columns(), to.products);
    }

    // A row's dx is factor dy - sums - products (x - mean).
    INLINE void combine(long example, long part, const Columns<T> &c) const {
        inverse_std(variance + example * s.statistics(), s.statistics(), eps, c.scale);
        expand(s, c.scale, c.factor);
        const long columns = s.columns();
        T *dw = dweight + part * s.columns(), *db = dbias + part * s.columns();
        INDEPENDENT_ITERATIONS
        for (long i = 0; i < columns; i++) {
            dw[i] += c.factor[i] * c.products[i];
            db[i] += c.sums[i];
            c.factor[i] *= weight[i];
        }
        const auto weighted = [&](T *sums, int powers) LAMBDA {
            reduce<T>(s, T(s.rows * s.reduced), c.scratch, [&](auto whole, long column, long n) LAMBDA {
                return load_some<whole.value>(weight + column, n) * load_some<whole.value>(sums + column, n);
            });
            for (long i = 0; i < s.statistics(); i++)
                c.scratch[i] *= c.scale[i] * (powers == 3 ? c.scale[i] * c.scale[i] : T(1));
            expand(s, c.scratch, sums);
        };
        weighted(c.sums, 1);
        weighted(c.products, 3);
    }

    INLINE void write(long example, long begin, long end, const Columns<T> &c) const {
        for_blocks<T>(s, begin, end, [&](auto whole, long column, long n, long first, long rows) {
            const long start = (example * s.rows + first) * s.columns() + column;
            const Vec<T> m = load_some<whole.value>(c.mean + column, n);
            const Vec<T> factor = load_some<whole.value>(c.factor + column, n);
            const Vec<T> sums = load_some<whole.value>(c.sums + column, n);
            const Vec<T> products = load_some<whole.value>(c.products + column, n);
            for (long i = start; i < start + rows * s.columns(); i += s.columns())
                store_some<whole.value>(dx + i,
                                        factor * load_some<whole.value>(dy + i, n) - sums -
                                            products * (load_some<whole.value>(x + i, n) - m),
                                        n);
        });
    }
};

// How many parts the work has: its examples, or the rows of each example if there are few examples.
inline bool by_examples(const Normalization &s) { return s.examples >= 16 || s.rows == 1; }
inline long parts_of(const Normalization &s) {
    const double numbers = 10.0 * s.rows * s.columns();
    return by_examples(s) ? parts_for(s.examples, s.examples * numbers) : parts_for(s.rows, numbers);
}

// The number of parts does not depend on that of threads: neither do the sums.
template <class T, class Pass> void normalize_by(const Normalization &s, const Pass &pass) {
    const long parts = parts_of(s), size = Columns<T>::count * s.columns();
    const std::unique_ptr<T[]> memory(new T[parts * size]);
    const auto columns_of = [&](long part) { return Columns<T>(&memory[part * size], s.columns()); };
    if (by_examples(s))
        return pool::run(parts, [&](long part) {
            const Columns<T> columns = columns_of(part);
            for (long i = part * s.examples / parts; i < (part + 1) * s.examples / parts; i++) {
                pass.sum(i, 0, s.rows, columns);
                pass.combine(i, part, columns);
                pass.write(i, 0, s.rows, columns);
            }
        });
    const auto row = [&](long part) { return part * s.rows / parts; };
    const Columns<T> all = columns_of(0);
    for (long i = 0; i < s.examples; i++) {
        pool::run(parts, [&](long part) { pass.sum(i, row(part), row(part + 1), columns_of(part)); });
        for (long part = 1; part < parts; part++) pass.add(all, row(part), columns_of(part), row(part + 1) - row(part));
        pass.combine(i, 0, all);
        pool::run(parts, [&](long part) { pass.write(i, row(part), row(part + 1), all); });
    }
}

// A number for each channel as one for each column, which are (channels, images).
template <class T> std::vector<T> for_columns(const Normalization &s, const T *channels, T missing) {
    std::vector<T> columns(s.columns(), missing);
    for (long i = 0; channels && i < s.columns(); i++) columns[i] = channels[i / s.images];
    return columns;
}

// Whether each example is one row with one mean, as in LayerNorm; this case needs no column sums.
inline bool has_row_statistics(const Normalization &s) { return s.rows == 1 && s.statistics() == 1; }

template <class T> void normalize_rows(const Normalize<T> &g, long rows, long n) {
    for_ranges(rows, 10.0 * n, [&](long begin, long end) {
        for (long r = begin; r < end; r++) {
            const T *x = g.x + r * n;
            if (!g.given) {
                Vec<T> sums{}, squares{};
                for_vectors<T>(n, [&](auto whole, long i, long left) { sums += load_some<whole.value>(x + i, left); });
                const T m = g.mean[r] = reduce_add<T>(sums) / T(n);
                for_vectors<T>(n, [&](auto whole, long i, long left) {
                    const Vec<T> difference = load_some<whole.value>(x + i, left, broadcast(m)) - m;
                    squares += difference * difference;
                });
                g.variance[r] = reduce_add<T>(squares) / T(n);
            }
            const T m = g.mean[r], scale = inverse_root(g.variance[r] + g.eps);
            for_vectors<T>(n, [&](auto whole, long i, long left) {
                const Vec<T> z = (load_some<whole.value>(x + i, left) - m) * scale;
                const Vec<T> w = load_some<whole.value>(g.weight + i, left),
                             b = load_some<whole.value>(g.bias + i, left);
                store_some<whole.value>(g.y + r * n + i, z * w + b, left);
            });
        }
    });
}

template <class T> void normalize_rows(const NormalizeGradient<T> &g, long rows, long n, long parts) {
    pool::run(parts, [&](long part) {
        T *dweight = g.dweight + part * n, *dbias = g.dbias + part * n;
        for (long r = part * rows / parts; r < (part + 1) * rows / parts; r++) {
            const T *dy = g.dy + r * n, *x = g.x + r * n, m = g.mean[r], scale = inverse_root(g.variance[r] + g.eps);
            Vec<T> sums{}, products{};
            for_vectors<T>(n, [&](auto whole, long i, long left) {
                const Vec<T> d = load_some<whole.value>(dy + i, left);
                const Vec<T> z = (load_some<whole.value>(x + i, left, broadcast(m)) - m) * scale;
                const Vec<T> dz = d * load_some<whole.value>(g.weight + i, left);
                sums += dz;
                products += dz * z;
                store_some<whole.value>(dweight + i, load_some<whole.value>(dweight + i, left) + d * z, left);
                store_some<whole.value>(dbias + i, load_some<whole.value>(dbias + i, left) + d, left);
            });
            const T mean_dz = reduce_add<T>(sums) / T(n), mean_product = reduce_add<T>(products) / T(n);
            for_vectors<T>(n, [&](auto whole, long i, long left) {
                const Vec<T> z = (load_some<whole.value>(x + i, left) - m) * scale;
                const Vec<T> dz = load_some<whole.value>(dy + i, left) * load_some<whole.value>(g.weight + i, left);
                store_some<whole.value>(g.dx + r * n + i, scale * (dz - mean_dz - z * mean_product), left);
            });
        }
    });
}

template <class T> void normalize(const Normalization &s, const T *x, const T *weight, const T *bias, double eps,
                                  bool given, T *y, T *mean, T *variance) {
    const std::vector<T> weights = for_columns(s, weight, T(1)), biases = for_columns(s, bias, T(0));
    const Normalize<T> pass{s, x, weights.data(), biases.data(), T(eps), y, mean, variance, given};
    if (has_row_statistics(s)) normalize_rows(pass, s.examples, s.columns());
    else normalize_by<T>(s, pass);
}

template <class T> void normalize_gradient(const Normalization &s, const T *dy, const T *x, const T *mean,
                                           const T *variance, const T *weight, double eps, T *dx, T *dweight,
                                           T *dbias) {
    const std::vector<T> weights = for_columns(s, weight, T(1));
    const long parts = parts_of(s), n = s.columns();
    std::vector<T> partial(2 * parts * n), sums(2 * n);
    const NormalizeGradient<T> pass{
        s, dy, x, mean, variance, weights.data(), T(eps), dx, partial.data(), partial.data() + parts * n};
    if (has_row_statistics(s)) normalize_rows(pass, s.examples, n, parts);
    else normalize_by<T>(s, pass);
    add_rows(partial.data(), n, parts, n, sums.data());
    add_rows(partial.data() + parts * n, n, parts, n, sums.data() + n);
    for (long i = 0; i < n / s.images; i++) {
        dweight[i] = sum(sums.data() + i * s.images, s.images);
        dbias[i] = sum(sums.data() + n + i * s.images, s.images);
    }
}
