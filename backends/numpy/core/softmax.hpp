// Softmax of rows, x (rows, classes) contiguous, and the cross-entropy with a label for each row:
//
//     y[r, c] = x[r, c] - max - log Σ_c exp(x[r, c] - max)
//     losses[r] = -y[r, labels[r]]        gradient[r, c] = exp(y[r, c]) - (c == labels[r])
//
// and the softmax itself, exp(y).
//
// Rows are transposed in groups of one vector: a vector holds one class of several rows, so sums over classes need no
// reduction within a vector. The rows stay in the cache, while plain NumPy passes over all rows for each operation.

// Up to lanes<T> rows, transposed: one vector for each class.
template <class T> class RowBlock {
  public:
    explicit RowBlock(long classes) : classes(classes), numbers(classes * lanes<T>) {}

    void read(const T *x, long n) { // where n < lanes<T>, the other lanes hold what no one reads
        transpose(x, classes, n, classes, numbers.data(), lanes<T>);
    }

    void write(T *to, long n) const {
        if (n == lanes<T>) return transpose(numbers.data(), lanes<T>, classes, n, to, classes);
        for (long i = 0; i < n; i++)
            for (long c = 0; c < classes; c++) to[i * classes + c] = numbers[c * lanes<T> + i];
    }

    // Call f(v) for the vectors of all classes, and store what it returns.
    template <class F> INLINE void transform(const F &f) {
        for (long c = 0; c < classes; c++) store(&numbers[c * lanes<T>], f(load(&numbers[c * lanes<T>])));
    }

    Vec<T> maximum() const {
        Vec<T> most = load(&numbers[0]);
        for (long c = 1; c < classes; c++) most = Maximum::combine(most, load(&numbers[c * lanes<T>]));
        return most;
    }

    // Replace each v by exp(v - maximum); return their sums.
    Vec<T> exponentiate(Vec<T> maximum) {
        Vec<T> sums{};
        transform([&](Vec<T> v) {
            const Vec<T> e = exp<T>(v - maximum);
            sums += e;
            return e;
        });
        return sums;
    }

  private:
    const long classes;
    std::vector<T> numbers;
};

// Call work(block, first row, number of rows) for all rows.
template <class T, class Work> void for_row_blocks(long rows, long classes, const Work &work) {
    const long n = (rows + lanes<T> - 1) / lanes<T>, parts = parts_for(n, 20.0 * rows * classes);
    std::vector<RowBlock<T>> blocks(parts, RowBlock<T>(classes));
    pool::run(parts, [&](long part) {
        for (long i = part * n / parts; i < (part + 1) * n / parts; i++)
            work(blocks[part], i * lanes<T>, std::min(lanes<T>, rows - i * lanes<T>));
    });
}

template <class T> void log_softmax(long rows, long classes, const T *x, T *y) {
    for_row_blocks<T>(rows, classes, [=](RowBlock<T> &block, long row, long n) {
        block.read(x + row * classes, n);
        const Vec<T> most = block.maximum();
        Vec<T> sums{};
        block.transform([&](Vec<T> v) {
            sums += exp<T>(v - most);
            return v - most;
        });
        const Vec<T> log_sums = log<T>(sums);
        block.transform([&](Vec<T> v) { return v - log_sums; });
        block.write(y + row * classes, n);
    });
}

template <class T> void softmax(long rows, long classes, const T *x, T *y) {
    for_row_blocks<T>(rows, classes, [=](RowBlock<T> &block, long row, long n) {
        block.read(x + row * classes, n);
        const Vec<T> factors = T(1) / block.exponentiate(block.maximum());
        block.transform([&](Vec<T> e) { return e * factors; });
        block.write(y + row * classes, n);
    });
}

// dx = y (dy - Σ y dy) for y = softmax(x), dx = dy - exp(y) Σ dy for y = log_softmax(x).
template <class T> void softmax_gradient(long rows, long classes, bool log, const T *dy, const T *y, T *dx) {
    for_ranges(rows, 8.0 * classes, [=](long begin, long end) {
        for (long i = begin * classes; i < end * classes; i += classes) {
            Vec<T> sums{};
            for_vectors<T>(classes, [&](auto whole, long c, long n) {
                const Vec<T> d = load_some<whole.value>(dy + i + c, n);
                sums += log ? d : d * load_some<whole.value>(y + i + c, n);
            });
            const T sum = reduce_add<T>(sums);
            for_vectors<T>(classes, [&](auto whole, long c, long n) {
                const Vec<T> d = load_some<whole.value>(dy + i + c, n), v = load_some<whole.value>(y + i + c, n);
                store_some<whole.value>(dx + i + c, log ? d - exp<T>(v) * sum : v * (d - sum), n);
            });
        }
    });
}

// A label out of range has the loss and the gradient 0. The gradient is multiplied by a factor.
template <class T> void sparse_softmax_cross_entropy(long rows, long classes, const T *x, const std::int64_t *labels,
                                                     T factor, T *losses, T *gradient) {
    for_row_blocks<T>(rows, classes, [=](RowBlock<T> &block, long row, long n) {
        block.read(x + row * classes, n);
        const Vec<T> most = block.maximum();
        const Vec<T> sums = block.exponentiate(most);
        const Vec<T> log_sums = log<T>(sums);
        Vec<T> factors = factor / sums;
        for (long i = 0; i < n; i++) {
            const std::int64_t label = labels[row + i];
            const bool valid = 0 <= label && label < classes;
            losses[row + i] = valid ? log_sums[i] - (x[(row + i) * classes + label] - most[i]) : T(0);
            if (!valid) factors[i] = 0;
        }
        block.transform([&](Vec<T> e) { return e * factors; });
        block.write(gradient + row * classes, n);
        for (long i = row; i < row + n; i++)
            if (0 <= labels[i] && labels[i] < classes) gradient[i * classes + labels[i]] -= factor;
    });
}
