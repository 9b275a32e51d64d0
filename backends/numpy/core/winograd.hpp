// Winograd's minimal filtering along the first of the window's axes with more than one position, for a stride and a
// dilation of 1: m outputs and r taps take m + r - 1 products instead of m r, 8 instead of 20 for 4 outputs of 5 taps.
//
//     y = Aᵀ ((G w) · (B x))
//
// for a tile of m + r - 1 rows of x and m rows of y. Each of the m + r - 1 products is a convolution over the remaining
// axes, computed as usual. A tile is worked on for two vectors of images at a time, so that it stays in the cache.
//
// B x and A d may overflow where the convolution does not: then a result is not finite, and the caller computes
// directly.

constexpr int max_points = 8; // m + r - 1

// The matrices: A (points, outputs), G (points, taps), B (points, points).
template <class T> struct Transforms {
    int outputs, taps, points;
    T a[max_points][max_points], g[max_points][max_points], b[max_points][max_points];
};

// Toom-Cook's algorithm with these points and infinity: polynomials are evaluated, multiplied and interpolated.
template <class T> Transforms<T> make_transforms(int outputs, int taps) {
    static const double points[] = {0, 1, -1, 2, -2, 0.5, -0.5};
    Transforms<T> t{outputs, taps, outputs + taps - 1, {}, {}, {}};
    const int n = t.points - 1; // finite points
    // The coefficients of Π (x - p) over the points other than `without`.
    const auto product = [&](int without, double (&coefficients)[max_points + 1]) {
        std::fill_n(coefficients, max_points + 1, 0.0);
        coefficients[0] = 1;
        int degree = 0;
        for (int i = 0; i < n; i++) {
            if (i == without) continue;
            for (int k = ++degree; k > 0; k--) coefficients[k] = coefficients[k - 1] - points[i] * coefficients[k];
            coefficients[0] *= -points[i];
        }
    };
    double coefficients[max_points + 1];
    for (int i = 0; i < n; i++) {
        double scale = 1, power = 1;
        for (int j = 0; j < n; j++)
            if (j != i) scale *= points[i] - points[j];
        for (int k = 0; k < std::max(outputs, taps); k++, power *= points[i]) {
            if (k < outputs) t.a[i][k] = static_cast<T>(power);
            if (k < taps) t.g[i][k] = static_cast<T>(power / scale);
        }
        product(i, coefficients);
        for (int k = 0; k < t.points; k++) t.b[i][k] = static_cast<T>(coefficients[k]);
    }
    product(-1, coefficients);
    for (int k = 0; k < t.points; k++) t.b[n][k] = static_cast<T>(coefficients[k]);
    t.a[n][outputs - 1] = t.g[n][taps - 1] = 1; // at infinity only the highest power counts
    return t;
}

template <class T> class Winograd {
  public:
    // Whether it pays for a convolution; the others are computed directly.
    static bool suits(const Convolution &s) {
        const int axis = first_axis(s);
        const long taps = s.window[axis];
        return s.groups == 1 && s.stride[axis] == 1 && s.dilation[axis] == 1 && taps >= 3 && taps <= 7 &&
               s.output[axis] >= 4 && s.channels >= 8 && s.channels * s.outputs >= min_products &&
               operations(s) * volume(s.output) >= min_operations;
    }

    // Whether the gradient with respect to the weights has products enough in a tile.
    static bool suits_weights(const Convolution &s) {
        return suits(s) && volume(s.output) >= 4 * s.output[first_axis(s)];
    }

    explicit Winograd(const Convolution &s)
        : s(s), axis(first_axis(s)),
          t(make_transforms<T>(s.window[axis] <= 5 ? 4 : 2, static_cast<int>(s.window[axis]))),
          n_tiles((s.output[axis] + t.outputs - 1) / t.outputs), blocks((s.images + width - 1) / width) {
        rest = s;
        rest.input[axis] = rest.output[axis] = rest.window[axis] = 1;
        rest.padding[axis] = 0;
    }

    // Returns whether all results are finite.
    bool conv(const T *x, const T *w, const T *bias, T *y) const {
        const long weights = volume(rest.window) * s.channels * s.outputs;
        std::vector<T> u(t.points * weights); // G w
        for (int i = 0; i < t.points; i++)
            for (int k = 0; k < t.taps; k++)
                for (long j = 0; j < weights; j++) u[i * weights + j] += t.g[i][k] * w[k * weights + j];
        std::atomic<bool> finite{true};
        pool::run(n_tiles * blocks, [&](long part) {
            const Piece piece = piece_of(part);
            static thread_local std::vector<T> v, products;
            v.resize(t.points * rows_of(rest.input, s.channels) * width);
            products.resize(t.points * rows_of(rest.output, s.outputs) * width);
            transform_input(x, piece, v.data());
            for (int i = 0; i < t.points; i++)
                conv_all(piece.of(rest), &v[i * rows_of(rest.input, s.channels) * piece.n], &u[i * weights],
                         &products[i * rows_of(rest.output, s.outputs) * piece.n]);
            if (!transform_output(products.data(), piece, bias, y)) finite.store(false, std::memory_order_relaxed);
        });
        return finite.load();
    }

    // Returns whether all results are finite.
    bool weight_gradient(const T *x, const T *dy, T *dw) const {
        const long pieces = n_tiles * blocks, parts = std::min(8L, pieces);
        Convolution some = rest;
        some.images = width;
        const long length = TiledSums<T>::piece_length(some);
        // The number of parts does not depend on that of threads: neither do the sums.
        std::vector<std::vector<TiledSums<T>>> sums(
            parts, std::vector<TiledSums<T>>(t.points, TiledSums<T>(some, nullptr, nullptr)));
        pool::run(parts, [&](long part) {
            std::vector<T> v(t.points * rows_of(rest.input, s.channels) * width),
                d(t.points * rows_of(rest.output, s.outputs) * width);
            for (long i = part * pieces / parts; i < (part + 1) * pieces / parts; i++) {
                const Piece piece = piece_of(i);
                transform_input(x, piece, v.data());
                transform_gradient(dy, piece, d.data());
                for (int k = 0; k < t.points; k++) {
                    TiledSums<T> &sum = sums[part][k];
                    sum.set_operands(&v[k * rows_of(rest.input, s.channels) * piece.n],
                                     &d[k * rows_of(rest.output, s.outputs) * piece.n], piece.n);
                    for (long row = 0; row < rest.output[0] * rest.output[1]; row++)
                        for (long begin = 0; begin < rest.output[2]; begin += length)
                            sum.add(row, begin, std::min(begin + length, rest.output[2]));
                }
            }
        });
        for (long part = 1; part < parts; part++)
            for (int i = 0; i < t.points; i++) sums[0][i].add(sums[part][i]);
        T nan_if_not_finite = 0;
        for (int k = 0; k < t.taps; k++)
            for (long tap = 0; tap < volume(rest.window); tap++)
                for (long c = 0; c < s.channels; c++)
                    for (long o = 0; o < s.outputs; o++) {
                        T sum = 0;
                        for (int i = 0; i < t.points; i++) sum += t.g[i][k] * sums[0][i](tap, c, o);
                        *dw++ = sum;
                        nan_if_not_finite += sum * T(0);
                    }
        return nan_if_not_finite == 0;
    }

  private:
    static constexpr long width = 2 * lanes<T>,
                          min_products = 1024; // of channels and outputs: fewer do not pay for transforms
    static constexpr double min_operations = 1 << 22;
    const Convolution &s;
    const int axis;
    const Transforms<T> t;
    const long n_tiles, blocks;
    Convolution rest; // over the other axes

    // Some images of one tile.
    struct Piece {
        long tile, first, n;
        Convolution of(Convolution rest) const {
            rest.images = n;
            return rest;
        }
    };

    // The first axis along which input, window or output is longer than 1: the axes before it must not count.
    static int first_axis(const Convolution &s) {
        for (int axis = 0; axis < 2; axis++)
            if (s.input[axis] > 1 || s.window[axis] > 1 || s.output[axis] > 1) return axis;
        return 2;
    }
    static long rows_of(const long (&lengths)[3], long channels) { return volume(lengths) * channels; }

    Piece piece_of(long part) const {
        const long first = part % blocks * width;
        return {part / blocks, first, std::min(width, s.images - first)};
    }

    // Returns whether the results are finite. target(i) = Σ_j coefficient(i, j) source(j) for `rows` rows of n images:
    // source(j) and target(i) are the first of them, source_step and target_step apart. A null source stands for zeros,
    // a null target is left out. A bias, one number for each channel, is added.
    template <class Coefficient, class Source, class Target>
    static INLINE bool combine(long rows, long n, int n_sources, int n_targets, const Coefficient &coefficient,
                               const Source &source, long source_step, const Target &target, long target_step,
                               const T *bias = nullptr, long channels = 1) {
        Vec<T> nan_if_not_finite{};
        for (long r = 0, channel = 0; r < rows; r++, channel = channel + 1 < channels ? channel + 1 : 0)
            for (long c = 0; c < n; c += lanes<T>) {
                const long live = std::min(lanes<T>, n - c);
                Vec<T> values[max_points];
                for (int j = 0; j < n_sources; j++) {
                    const T *from = source(j);
                    if (!from) values[j] = Vec<T>{};
                    else if (live == lanes<T>) values[j] = load(from + r * source_step + c);
                    else values[j] = load_partial(from + r * source_step + c, live);
                }
                for (int i = 0; i < n_targets; i++) {
                    T *to = target(i);
                    if (!to) continue;
                    Vec<T> sum{};
                    for (int j = 0; j < n_sources; j++)
                        if (coefficient(i, j) != 0) sum += coefficient(i, j) * values[j];
                    if (bias) sum += broadcast(bias[channel]);
                    nan_if_not_finite += sum * T(0);
                    if (live == lanes<T>) store(to + r * target_step + c, sum);
                    else store_partial(to + r * target_step + c, sum, live);
                }
            }
        T total = 0;
        for (int lane = 0; lane < lanes<T>; lane++) total += nan_if_not_finite[lane];
        return total == 0;
    }

    // v[i] = Σ_j B[i][j] (row j of the tile), zeros outside of x.
    void transform_input(const T *x, const Piece &piece, T *v) const {
        const long rows = rows_of(rest.input, s.channels), top = piece.tile * t.outputs - s.padding[axis];
        const auto row_of_x = [&](int j) {
            const long row = top + j;
            return row < 0 || row >= s.input[axis] ? nullptr : x + row * rows * s.images + piece.first;
        };
        const auto row_of_v = [&](int i) { return v + i * rows * piece.n; };
        combine(
            rows, piece.n, t.points, t.points, [&](int i, int j) { return t.b[i][j]; }, row_of_x, s.images, row_of_v,
            piece.n);
    }

    // d[i] = Σ_k A[i][k] (row k of the tile in dy), zeros outside of it.
    void transform_gradient(const T *dy, const Piece &piece, T *d) const {
        const long rows = rows_of(rest.output, s.outputs), top = piece.tile * t.outputs;
        const auto row_of_dy = [&](int k) {
            return top + k >= s.output[axis] ? nullptr : dy + (top + k) * rows * s.images + piece.first;
        };
        const auto row_of_d = [&](int i) { return d + i * rows * piece.n; };
        combine(
            rows, piece.n, t.outputs, t.points, [&](int i, int k) { return t.a[i][k]; }, row_of_dy, s.images, row_of_d,
            piece.n);
    }

    // Row k of the tile in y = Σ_i A[i][k] products[i] + bias.
    bool transform_output(const T *products, const Piece &piece, const T *bias, T *y) const {
        const long rows = rows_of(rest.output, s.outputs), top = piece.tile * t.outputs;
        const auto product = [&](int i) { return products + i * rows * piece.n; };
        const auto row_of_y = [&](int k) {
            return top + k >= s.output[axis] ? nullptr : y + (top + k) * rows * s.images + piece.first;
        };
        return combine(
            rows, piece.n, t.points, t.outputs, [&](int k, int i) { return t.a[i][k]; }, product, piece.n, row_of_y,
            s.images, bias, s.outputs);
    }
};
