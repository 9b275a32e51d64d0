// The tile: the one loop that products and convolutions run.
//
//     y[r][j] = Σ_k w[k wk + r wr] x[k xk + j] + bias,    0 <= r < rows, 0 <= j < columns
//
// The sums of up to tile_rows rows and two vectors of columns stay in registers. A factor w is broadcast to a vector,
// so it may lie anywhere; the columns of x and y are contiguous. The sum over k comes in runs, in each of which k has
// fixed steps: the positions of a convolution's window that lie side by side, for instance.

template <class T> struct Run {
    const T *w, *x;
    long length; // how many k
};

template <class T> struct Tile {
    const Run<T> *runs;
    long n_runs, wk, wr, xk;
    T *y;
    long yr;                 // step from one row of y to the next
    bool accumulate = false; // whether to add to y
    // One number for each column or for each row: zeros if null.
    const T *bias = nullptr, *bias_of_row = nullptr;
};

// `last` columns of the last vector, all of them if `whole`.
template <int rows, int vectors, bool whole, class T>
INLINE void compute(const Tile<T> &t, long row, long column, long last) {
    Vec<T> sums[rows][vectors];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) sums[r][v] = Vec<T>{};
    const long wk = t.wk, wr = t.wr, xk = t.xk;
    for (long i = 0; i < t.n_runs; i++) {
        const T *w = t.runs[i].w + row * wr, *x = t.runs[i].x + column;
        for (long k = t.runs[i].length; k > 0; k--, w += wk, x += xk) {
            Vec<T> columns[vectors];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                columns[v] = whole || v < vectors - 1 ? load(x + v * lanes<T>) : load_partial(x + v * lanes<T>, last);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                const Vec<T> factor = broadcast(w[r * wr]);
#pragma GCC unroll 8
                for (int v = 0; v < vectors; v++) sums[r][v] += factor * columns[v];
            }
        }
    }
    T *y = t.y + row * t.yr + column;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++, y += t.yr)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const long j = v * lanes<T>;
            const auto load_here = [&](const T *p) LAMBDA {
                return whole || v < vectors - 1 ? load(p + j) : load_partial(p + j, last);
            };
            Vec<T> sum = sums[r][v];
            if (t.accumulate) sum += load_here(y);
            if (t.bias) sum += load_here(t.bias + column);
            if (t.bias_of_row) sum += broadcast(t.bias_of_row[row + r]);
            if (whole || v < vectors - 1) store(y + j, sum);
            else store_partial(y + j, sum, last);
        }
}

template <int vectors, bool whole, class T>
INLINE void compute_rows(const Tile<T> &t, long rows, long column, long last) {
    long row = 0;
    for (; row + tile_rows <= rows; row += tile_rows) compute<tile_rows, vectors, whole>(t, row, column, last);
    if (tile_rows > 8 && row + 8 <= rows) compute<8, vectors, whole>(t, row, column, last), row += 8;
    if (row + 4 <= rows) compute<4, vectors, whole>(t, row, column, last), row += 4;
    if (row + 2 <= rows) compute<2, vectors, whole>(t, row, column, last), row += 2;
    if (row < rows) compute<1, vectors, whole>(t, row, column, last);
}

template <class T> __attribute__((noinline)) void compute(const Tile<T> &t, long rows, long columns) {
    constexpr long width = lanes<T>;
    long column = 0;
    if (rows == 1) { // sums enough to hide the latency of an addition
        for (; column + 8 * width <= columns; column += 8 * width) compute<1, 8, true>(t, 0, column, width);
        if (column + 4 * width <= columns) compute<1, 4, true>(t, 0, column, width), column += 4 * width;
    }
    for (; column + 2 * width <= columns; column += 2 * width) compute_rows<2, true>(t, rows, column, width);
    const long left = columns - column;
    if (left > width) compute_rows<2, false>(t, rows, column, left - width);
    else if (left == width) compute_rows<1, true>(t, rows, column, width);
    else if (left > 0) compute_rows<1, false>(t, rows, column, left);
}
