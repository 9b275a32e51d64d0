// A bias for each channel, and its gradient: x (rows, channels, images) contiguous, with one image unless the batch is
// last in memory.
//
//     x[r, c, n] += bias[c]        sums[c] = Σ_r Σ_n x[r, c, n]
//
// NumPy's inner loops run over the channels or images, which may be few. These loops run over blocks of rows with at
// least some hundred numbers.

constexpr long block_numbers = 256;

inline long rows_of_block(const Bias &s) { return std::max(1l, block_numbers / std::max(1l, s.channels * s.images)); }

template <class T> void bias_add(const Bias &s, const T *bias, T *x) {
    const long rows = std::min(s.rows, rows_of_block(s)), length = rows * s.channels * s.images;
    const long n = s.rows * s.channels * s.images, blocks = length ? (n + length - 1) / length : 0;
    std::vector<T> repeated; // what is added to a block
    repeated.reserve(length);
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < s.channels; c++) repeated.insert(repeated.end(), s.images, bias[c]);
    for_ranges(blocks, double(length), [&](long begin, long end) {
        const T *b = repeated.data();
        for (long i = begin; i < end; i++) {
            T *p = x + i * length;
            const long m = std::min(length, n - i * length);
            INDEPENDENT_ITERATIONS
            for (long j = 0; j < m; j++) p[j] += b[j];
        }
    });
}

// sums[j] += Σ_r x[r step + j] for j < columns, four rows at a time.
template <class T> void add_rows(const T *x, long step, long rows, long columns, T *sums) {
    long r = 0;
    for (; r + 4 <= rows; r += 4) {
        const T *a = x + r * step, *b = a + step, *c = b + step, *d = c + step;
        INDEPENDENT_ITERATIONS
        for (long j = 0; j < columns; j++) sums[j] += (a[j] + b[j]) + (c[j] + d[j]);
    }
    for (; r < rows; r++) {
        INDEPENDENT_ITERATIONS
        for (long j = 0; j < columns; j++) sums[j] += x[r * step + j];
    }
}

// Each part sums some blocks, and one more array takes the rows that are left over; then the sums of parts, rows and
// images are added. The number of parts does not depend on that of threads: neither do the sums.
template <class T> void bias_grad(const Bias &s, const T *x, T *sums) {
    const long columns = s.channels * s.images, rows = rows_of_block(s), length = rows * columns,
               blocks = s.rows / rows;
    const long parts = parts_for(std::min(blocks, 16l), double(blocks) * length);
    std::vector<T> partial((parts + 1) * length);
    pool::run(parts, [&](long part) {
        const long begin = part * blocks / parts, end = (part + 1) * blocks / parts;
        add_rows(x + begin * length, length, end - begin, length, &partial[part * length]);
    });
    add_rows(x + blocks * length, columns, s.rows - blocks * rows, columns, partial.data() + parts * length);
    std::vector<T> added(columns);
    add_rows(partial.data(), columns, (parts + 1) * rows, columns, added.data());
    for (long c = 0; c < s.channels; c++) sums[c] = sum(added.data() + c * s.images, s.images);
}
