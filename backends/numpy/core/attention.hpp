// Attention, y = softmax(q kT scale) v: portanet/kernels/attention.py has the formulas.
//
// A thread takes one head of one example at a time, and of it some queries: their scores stay in the cache. The
// gradient computes the weights again from the logarithms of the sums of softmax, so that no weights are stored.

constexpr long block_queries = 2 * tile_rows;

// The head of an example in one of the arrays.
template <class T> Rows<T> head_of(const Heads<T> &x, long example, long head) {
    return {x.data + example * x.example_step + head * x.head_step, x.row_step};
}

template <class T> INLINE Rows<T> from_row(Rows<T> x, long row) { return {x.data + row * x.step, x.step}; }

// y (rows, columns) += the sum over k < length of weights[k][r] x[k][c].
template <class T>
void add_transposed_product(Rows<T> weights, Rows<const T> x, long length, long rows, long columns, Rows<T> y) {
    const Run<T> run{weights.data, x.data, length};
    compute(Tile<T>{&run, 1, weights.step, 1, x.step, y.data, y.step, true}, rows, columns);
}

// y (rows, columns) = the sum over k < length of weights[r][k] x[k][c].
template <class T>
void write_product(Rows<T> weights, Rows<const T> x, long length, long rows, long columns, Rows<T> y) {
    const Run<T> run{weights.data, x.data, length};
    compute(Tile<T>{&run, 1, 1, weights.step, x.step, y.data, y.step}, rows, columns);
}

// One head of one example, in blocks of queries.
template <class T> class Head {
  public:
    Head(const Attention &s, const T *kept) : s(s), kept(kept) {}

    void forward(Rows<const T> q, Rows<const T> k, Rows<const T> v, Rows<T> y, T *log_sums) {
        keys.pack({k.data, s.features, s.keys, 1, k.step});
        for_blocks([&](long first, long rows, long n) {
            Rows<T> p = scores(q, first, rows, n);
            for (long r = 0; r < rows; r++) log_sums[first + r] = softmax(p.data + r * p.step, visible(first + r), n);
            write_product(p, v, n, rows, s.features, from_row(y, first));
        });
    }

    // dk and dv are zero before.
    void gradient(Rows<const T> q, Rows<const T> k, Rows<const T> v, const T *log_sums, Rows<const T> dy, Rows<T> dq,
                  Rows<T> dk, Rows<T> dv) {
        keys.pack({k.data, s.features, s.keys, 1, k.step});
        values.pack({v.data, s.features, s.keys, 1, v.step});
        for_blocks([&](long first, long rows, long n) {
            Rows<T> p = scores(q, first, rows, n), dp{p.data + rows * p.step, p.step};
            values.multiply(from_row(dy, first), rows, n, dp);
            for (long r = 0; r < rows; r++)
                softmax_gradient(p.data + r * p.step, dp.data + r * p.step, visible(first + r), n, log_sums[first + r]);
            add_transposed_product(p, from_row(dy, first), rows, n, s.features, dv);
            add_transposed_product(dp, from_row(q, first), rows, n, s.features, dk);
            write_product(dp, k, n, rows, s.features, from_row(dq, first));
        });
    }

  private:
    const Attention &s;
    const T *kept; // 0 for padding; may be null
    Panels<T> keys, values;
    std::vector<T> memory; // weights of a block and their gradient
    const T least = std::numeric_limits<T>::lowest();

    // How many keys a query sees, padding included.
    long visible(long query) const { return s.is_causal ? std::min(query + 1, s.keys) : s.keys; }

    // Call f(first query, queries, keys that one of them sees).
    template <class F> void for_blocks(const F &f) {
        for (long first = 0; first < s.queries; first += block_queries) {
            const long rows = std::min(block_queries, s.queries - first);
            f(first, rows, visible(first + rows - 1));
        }
    }

    Rows<T> scores(Rows<const T> q, long first, long rows, long n) {
        const long step = (n + lanes<T> - 1) / lanes<T> * lanes<T>;
        memory.resize(2 * block_queries * step);
        keys.multiply(from_row(q, first), rows, n, {memory.data(), step});
        return {memory.data(), step};
    }

    // Some scores, with that of padding at the least number.
    template <bool whole> INLINE Vec<T> load_scores(const T *x, long j, long n) const {
        const Vec<T> v = load_some<whole>(x + j, n, broadcast(least));
        return kept ? load_some<whole>(kept + j, n) != T(0) ? v : broadcast(least) : v;
    }

    // Overwrite the first scores of n by their softmax, others by 0; return the logarithm of the sum.
    T softmax(T *x, long visible, long n) const {
        Vec<T> most = broadcast(least), sums{};
        for_vectors<T>(visible, [&](auto whole, long j, long m) {
            most = Maximum::combine(most, load_scores<whole.value>(x, j, m));
        });
        const T max = reduce_max<T>(most), scale = T(s.scale);
        std::fill(x + (max == least ? 0 : visible), x + n, T(0));
        if (max == least) return std::numeric_limits<T>::infinity(); // there is nothing but padding
        for_vectors<T>(visible, [&](auto whole, long j, long m) {
            const Vec<T> e = exp<T>((load_scores<whole.value>(x, j, m) - max) * scale);
            sums += e;
            store_some<whole.value>(x + j, e, m);
        });
        const T sum = reduce_add<T>(sums), factor = 1 / sum;
        for_vectors<T>(visible, [&](auto whole, long j, long m) {
            store_some<whole.value>(x + j, load_some<whole.value>(x + j, m) * factor, m);
        });
        return max * scale + std::log(sum);
    }

    // Overwrite scores by weights p, and dp by p (dp - Σ p dp) scale.
    void softmax_gradient(T *x, T *dp, long visible, long n, T log_sum) const {
        const T scale = T(s.scale);
        Vec<T> sums{};
        for_vectors<T>(visible, [&](auto whole, long j, long m) {
            const Vec<T> p = exp<T>(load_scores<whole.value>(x, j, m) * scale - log_sum);
            sums += p * load_some<whole.value>(dp + j, m);
            store_some<whole.value>(x + j, p, m);
        });
        const T sum = reduce_add<T>(sums);
        for_vectors<T>(visible, [&](auto whole, long j, long m) {
            const Vec<T> p = load_some<whole.value>(x + j, m), d = load_some<whole.value>(dp + j, m);
            store_some<whole.value>(dp + j, p * (d - sum) * scale, m);
        });
        std::fill(x + visible, x + n, T(0));
        std::fill(dp + visible, dp + n, T(0));
    }
};

// Call work(head, example, number of the head) for all heads of all examples.
template <class T, class Work> void for_heads(const Attention &s, const T *kept, double operations, const Work &work) {
    for_ranges(s.examples * s.heads, operations * s.queries * s.keys * s.features, [&](long begin, long end) {
        for (long i = begin; i < end; i++) {
            const long example = i / s.heads;
            Head<T> head(s, kept ? kept + example * s.keys : nullptr);
            work(head, example, i % s.heads);
        }
    });
}

template <class T> void attention(const Attention &s, const Heads<const T> &q, const Heads<const T> &k,
                                  const Heads<const T> &v, const T *kept, const Heads<T> &y, T *log_sums) {
    for_heads(s, kept, 0.4, [&](Head<T> &head, long i, long j) {
        head.forward(head_of(q, i, j), head_of(k, i, j), head_of(v, i, j), head_of(y, i, j),
                     log_sums + (i * s.heads + j) * s.queries);
    });
}

template <class T> void attention_gradient(const Attention &s, const Heads<const T> &q, const Heads<const T> &k,
                                           const Heads<const T> &v, const T *kept, const T *log_sums,
                                           const Heads<const T> &dy, const Heads<T> &dq, const Heads<T> &dk,
                                           const Heads<T> &dv) {
    for_heads(s, kept, 1.0, [&](Head<T> &head, long i, long j) {
        head.gradient(head_of(q, i, j), head_of(k, i, j), head_of(v, i, j), log_sums + (i * s.heads + j) * s.queries,
                      head_of(dy, i, j), head_of(dq, i, j), head_of(dk, i, j), head_of(dv, i, j));
    });
}
