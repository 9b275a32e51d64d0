// Convolution, batch last: x (*input, groups channels, images), w (*window, channels, groups outputs) and
// y (*output, groups outputs, images), all contiguous.
//
//     y[p, o, n] = Σ_t Σ_c w[t, c, o] x[p stride + t dilation - padding, c, n] + bias[o]
//
// over the positions t of the window that lie inside x. At one output position this is a product of the weights and a
// piece of x, which is computed in tiles straight from both arrays: no columns are copied and nothing is padded.
// Strides, dilations and the gradient with respect to x only change which runs are summed.

// Maximum output positions in a part of a row.
constexpr long max_piece = 32;

INLINE long volume(const long (&lengths)[3]) { return lengths[0] * lengths[1] * lengths[2]; }

INLINE double operations(const Convolution &s) {
    return 2.0 * volume(s.window) * s.channels * s.outputs * s.groups * s.images;
}

// Call f(p, n) for the positions begin, begin + step, ... below `end`: n from p on, which are all interior, or one
// alone.
template <class Interior, class Function>
void for_stretches(long begin, long end, long step, const Interior &interior, const Function &f) {
    for (long p = begin, n; p < end; p += n * step) {
        for (n = 1; interior(p) && p + n * step < end && interior(p + n * step);) n++;
        f(p, n);
    }
}

// Whether the window of the output position q of a row lies in it.
inline bool is_interior(const Convolution &s, long q) {
    const long first = q * s.stride[2] - s.padding[2];
    return first >= 0 && first + (s.window[2] - 1) * s.dilation[2] < s.input[2];
}

// The runs of the first group at the output position p: one for each row of the window, or for each of its positions.
template <class T> long runs_from(const Convolution &s, const T *x, const T *w, const long (&p)[3], Run<T> *runs) {
    const long *in = s.input, *k = s.window, all = s.groups * s.channels, outputs = s.groups * s.outputs;
    const long first = p[2] * s.stride[2] - s.padding[2], step = s.dilation[2];
    long begin = 0, end = k[2], n = 0;
    while (begin < end && first + begin * step < 0) begin++;
    while (end > begin && first + (end - 1) * step >= in[2]) end--;
    const long joined = step == 1 && s.groups == 1 && end > begin ? end - begin : 1;
    for (long a = 0; a < k[0]; a++) {
        const long i = p[0] * s.stride[0] + a * s.dilation[0] - s.padding[0];
        if (i < 0 || i >= in[0]) continue;
        for (long b = 0; b < k[1]; b++) {
            const long j = p[1] * s.stride[1] + b * s.dilation[1] - s.padding[1];
            if (j < 0 || j >= in[1]) continue;
            for (long c = begin; c < end; c += joined) {
                const long offset = (i * in[1] + j) * in[2] + first + c * step, tap = (a * k[1] + b) * k[2] + c;
                runs[n++] = {w + tap * s.channels * outputs, x + offset * all * s.images, s.channels * joined};
            }
        }
    }
    return n;
}

// The runs of the first group at the position q of x: from the outputs whose windows cover it.
template <class T> long runs_to(const Convolution &s, const T *dy, const T *w, const long (&q)[3], Run<T> *runs) {
    const long *out = s.output, *k = s.window, outputs = s.groups * s.outputs;
    long n = 0;
    for (long a = 0; a < k[0]; a++) {
        long i = q[0] + s.padding[0] - a * s.dilation[0];
        if (i < 0 || i % s.stride[0] || (i /= s.stride[0]) >= out[0]) continue;
        for (long b = 0; b < k[1]; b++) {
            long j = q[1] + s.padding[1] - b * s.dilation[1];
            if (j < 0 || j % s.stride[1] || (j /= s.stride[1]) >= out[1]) continue;
            for (long c = 0; c < k[2]; c++) {
                long l = q[2] + s.padding[2] - c * s.dilation[2];
                if (l < 0 || l % s.stride[2] || (l /= s.stride[2]) >= out[2]) continue;
                const long tap = (a * k[1] + b) * k[2] + c, offset = (i * out[1] + j) * out[2] + l;
                runs[n++] = {w + tap * s.channels * outputs, dy + offset * outputs * s.images, s.outputs};
            }
        }
    }
    return n;
}

// Compute the rows of all groups of one position; between groups, the operands of the runs move by a step.
template <class T>
void compute_groups(Tile<T> t, Run<T> *runs, long groups, long rows, long images, long w_step, long x_step) {
    for (long group = 0; group < groups; group++, t.y += rows * images) {
        compute(t, rows, images);
        if (t.bias_of_row) t.bias_of_row += rows;
        for (long i = 0; i < t.n_runs; i++) runs[i].w += w_step, runs[i].x += x_step;
    }
}

// Call at(position, index) for all positions of an array, in parts for the pool.
template <class Function> void for_positions(const long (&lengths)[3], double work_each, const Function &at) {
    const long n = volume(lengths), parts = parts_for(n, n * work_each);
    pool::run(parts, [&](long part) {
        for (long i = part * n / parts; i < (part + 1) * n / parts; i++) {
            const long position[3] = {i / (lengths[1] * lengths[2]), i / lengths[2] % lengths[1], i % lengths[2]};
            at(position, i);
        }
    });
}

// One output position, or one position of x.
template <class T>
void conv_at(const Convolution &s, const T *x, const T *w, const T *bias, T *y, const long (&p)[3], long i) {
    const long all = s.groups * s.outputs;
    Run<T> runs[max_window];
    Tile<T> t{runs, runs_from(s, x, w, p, runs), all, 1, s.images, y + i * all * s.images, s.images};
    t.bias_of_row = bias;
    compute_groups(t, runs, s.groups, s.outputs, s.images, s.outputs, s.channels * s.images);
}

template <class T>
void conv_input_gradient_at(const Convolution &s, const T *dy, const T *w, T *dx, const long (&q)[3], long i) {
    const long all = s.groups * s.outputs, step = s.groups * s.channels * s.images;
    Run<T> runs[max_window];
    const Tile<T> t{runs, runs_to(s, dy, w, q, runs), 1, all, s.images, dx + i * step, s.images};
    compute_groups(t, runs, s.groups, s.channels, s.images, s.outputs, s.outputs * s.images);
}

// A whole convolution by this thread alone.
template <class T> void conv_all(const Convolution &s, const T *x, const T *w, T *y) {
    long p[3], i = 0;
    for (p[0] = 0; p[0] < s.output[0]; p[0]++)
        for (p[1] = 0; p[1] < s.output[1]; p[1]++)
            for (p[2] = 0; p[2] < s.output[2]; p[2]++) conv_at<T>(s, x, w, nullptr, y, p, i++);
}

// The gradient with respect to w is a sum over positions and images:
//
//     dw[t, c, o] = Σ_p Σ_n x[p stride + t dilation - padding, c, n] dy[p, o, n]
//
// Two ways to compute it, each of which adds one row of output positions after another to sums of its own.

// Of the output positions [from, to) of a row, those whose window has its position t inside x: [begin, end).
struct Span {
    long begin = 0, end = 0;

    Span(const Convolution &s, long row, long t, long from, long to) {
        const long *k = s.window;
        i = row / s.output[1] * s.stride[0] + t / (k[1] * k[2]) * s.dilation[0] - s.padding[0];
        j = row % s.output[1] * s.stride[1] + t / k[2] % k[1] * s.dilation[1] - s.padding[1];
        shift = t % k[2] * s.dilation[2] - s.padding[2];
        if (i < 0 || i >= s.input[0] || j < 0 || j >= s.input[1]) return;
        begin = from;
        end = to;
        while (begin < end && begin * s.stride[2] + shift < 0) begin++;
        while (end > begin && (end - 1) * s.stride[2] + shift >= s.input[2]) end--;
    }

    Span from(long p) const {
        Span some = *this;
        some.begin = std::max(begin, p);
        return some;
    }
    Span until(long p) const {
        Span some = *this;
        some.end = std::min(end, p);
        return some;
    }

    // The output positions that two spans share, or none.
    Span common(const Span &other) const {
        Span both = from(other.begin).until(other.end);
        both.end = std::max(both.begin, both.end);
        return both;
    }

    // Index in x under this window position, for the output position p.
    long offset(const Convolution &s, long p) const {
        return (i * s.input[1] + j) * s.input[2] + p * s.stride[2] + shift;
    }

  private:
    long i, j, shift;
};

// Call f(t, taps, span) for the positions t of the window and the output positions that meet them. `joined` window
// positions are processed together where all of them lie in x, and one by one elsewhere.
template <class Function>
void for_spans(const Convolution &s, long joined, long row, long begin, long end, const Function &f) {
    for (long t = 0; t < volume(s.window); t += joined) {
        const Span first(s, row, t, begin, end), last(s, row, t + joined - 1, begin, end);
        const Span all = joined == 1 ? first : first.common(last);
        f(t, joined, all);
        for (long k = t; joined > 1 && k < t + joined; k++) {
            const Span own(s, row, k, begin, end);
            f(k, 1, own.until(all.begin));
            f(k, 1, own.from(all.end));
        }
    }
}

// For many outputs: tiles with the channels as rows. A tile needs contiguous outputs, so the row of dy is transposed,
// its outputs filled up to whole vectors.
template <class T> class TiledSums {
  public:
    TiledSums(const Convolution &s, const T *x, const T *dy)
        : s(s), x(x), dy(dy), outputs((s.outputs + lanes<T> - 1) / lanes<T> * lanes<T>),
          joined(s.groups == 1 && s.dilation[2] == 1 ? s.window[2] : 1),
          sums(volume(s.window) * s.channels * s.groups * outputs) {}

    // A vector of outputs should be full, or used for some rows.
    static bool suits(const Convolution &s) {
        return s.outputs >= lanes<T> || (2 * s.outputs >= lanes<T> && s.channels >= 8);
    }

    // Few output positions: a tile's operands stay in the cache.
    static long piece_length(const Convolution &s) {
        return std::min(max_piece, std::max(1L, 512 / static_cast<long>(sizeof(T)) / std::max(1L, s.images)));
    }

    // Go on with other arrays, of at most as many images.
    void set_operands(const T *new_x, const T *new_dy, long images) {
        x = new_x;
        dy = new_dy;
        s.images = images;
    }

    // Add the output positions [begin, end) of a row.
    void add(long row, long begin, long end) {
        static thread_local std::vector<T> transposed;
        transposed.resize((end - begin) * s.images * outputs); // zeros, or numbers of another call, beyond the outputs
        for (long group = 0; group < s.groups; group++) {
            for (long p = begin; p < end; p++) {
                const T *from = dy + ((row * s.output[2] + p) * s.groups + group) * s.outputs * s.images;
                transpose(from, s.images, s.outputs, s.images, &transposed[(p - begin) * s.images * outputs], outputs);
            }
            for_spans(s, joined, row, begin, end, [&](long t, long taps, const Span &span) {
                multiply(span, transposed.data(), begin, t, taps, group);
            });
        }
    }

    // Add the sums of another part.
    void add(const TiledSums &other) {
        for (std::size_t i = 0; i < sums.size(); i++) sums[i] += other.sums[i];
    }

    T operator()(long tap, long channel, long output) const {
        const long group = output / s.outputs;
        return sums[((group * volume(s.window) + tap) * s.channels + channel) * outputs + output % s.outputs];
    }

  private:
    Convolution s;
    const T *x, *dy;
    long outputs; // of a group, filled up
    long joined;  // window positions whose channels lie side by side
    std::vector<T> sums;

    void multiply(const Span &span, const T *transposed, long first, long t, long taps, long group) {
        if (span.begin >= span.end) return;
        Run<T> runs[max_piece];
        for (long p = span.begin; p < span.end; p++)
            runs[p - span.begin] = {x + (span.offset(s, p) * s.groups + group) * s.channels * s.images,
                                    transposed + (p - first) * s.images * outputs, s.images};
        T *to = &sums[(group * volume(s.window) + t) * s.channels * outputs];
        compute(Tile<T>{runs, span.end - span.begin, 1, s.images, outputs, to, outputs, true}, taps * s.channels,
                outputs);
    }
};

// For few outputs: vectors of images. The sums of a block of channels and outputs stay in registers while one row of
// output positions passes by.
template <class T> class VectorSums {
  public:
    VectorSums(const Convolution &s, const T *x, const T *dy)
        : s(s), x(x), dy(dy), sums(volume(s.window) * s.channels * s.groups * s.outputs * lanes<T>) {}

    static long piece_length(const Convolution &) { return max_piece; }

    // Add the output positions [begin, end) of a row.
    void add(long row, long begin, long end) {
        // The positions of one channel in a row of the window are rows of a block, like the channels of one position.
        const long joined = s.channels == 1 ? s.window[2] : 1;
        for_spans(s, joined, row, begin, end,
                  [&](long t, long taps, const Span &span) { add_block(row, t, taps * s.channels, span); });
    }

    void add(const VectorSums &other) {
        for (std::size_t i = 0; i < sums.size(); i++) sums[i] += other.sums[i];
    }

    T operator()(long tap, long channel, long output) const {
        return reduce_add<T>(load(&sums[((tap * s.channels + channel) * s.groups * s.outputs + output) * lanes<T>]));
    }

  private:
    const Convolution &s;
    const T *x, *dy;
    std::vector<T> sums; // (tap, channel, group, output), vectors

    struct Block {
        const T *x, *dy;
        T *sums;
        long positions, row_step; // from one row of x to the next
    };

    void add_block(long row, long t, long rows, const Span &span) {
        if (span.begin >= span.end) return;
        const long step = (s.channels == 1 ? s.dilation[2] * s.groups : 1) * s.images;
        for (long group = 0; group < s.groups; group++) {
            const Block block{
                x + (span.offset(s, span.begin) * s.groups + group) * s.channels * s.images,
                dy + ((row * s.output[2] + span.begin) * s.groups + group) * s.outputs * s.images,
                &sums[(t * s.channels * s.groups + group) * s.outputs * lanes<T>],
                span.end - span.begin,
                step,
            };
            long r = 0;
            for (; r + 4 <= rows; r += 4) add_rows<4>(block, r);
            if (r + 3 <= rows) add_rows<3>(block, r), r += 3;
            if (r + 2 <= rows) add_rows<2>(block, r), r += 2;
            if (r < rows) add_rows<1>(block, r);
        }
    }

    template <int rows> void add_rows(const Block &b, long r) {
        constexpr int columns = tile_rows > 6 ? 6 : rows < 3 ? 4 : 2;
        long o = 0;
        for (; o + columns <= s.outputs; o += columns) add_sums<rows, columns>(b, r, o);
        if (columns > 4 && o + 4 <= s.outputs) add_sums<rows, 4>(b, r, o), o += 4;
        if (o + 2 <= s.outputs) add_sums<rows, 2>(b, r, o), o += 2;
        if (o < s.outputs) add_sums<rows, 1>(b, r, o);
    }

    template <int rows, int columns> __attribute__((noinline)) void add_sums(const Block &b, long first, long o) {
        const long n = s.images, x_step = s.stride[2] * s.groups * s.channels * n, dy_step = s.groups * s.outputs * n;
        const T *xp = b.x + first * b.row_step, *dyp = b.dy + o * n;
        T *to = b.sums + (first * s.groups * s.outputs + o) * lanes<T>;
        const long to_step = s.groups * s.outputs * lanes<T>;
        Vec<T> block[rows][columns];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 6
            for (int k = 0; k < columns; k++) block[r][k] = load(to + r * to_step + k * lanes<T>);
        for (long p = 0; p < b.positions; p++, xp += x_step, dyp += dy_step) {
            long i = 0;
            for (; i + lanes<T> <= n; i += lanes<T>) add_products<true>(block, xp + i, b.row_step, dyp + i, 0);
            if (i < n) add_products<false>(block, xp + i, b.row_step, dyp + i, n - i);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 6
            for (int k = 0; k < columns; k++) store(to + r * to_step + k * lanes<T>, block[r][k]);
    }

    template <bool whole, int rows, int columns> INLINE void
    add_products(Vec<T> (&block)[rows][columns], const T *xp, long row_step, const T *dyp, long last) const {
        const long n = s.images;
        Vec<T> left[rows];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            left[r] = whole ? load(xp + r * row_step) : load_partial(xp + r * row_step, last);
#pragma GCC unroll 6
        for (int k = 0; k < columns; k++) {
            const Vec<T> right = whole ? load(dyp + k * n) : load_partial(dyp + k * n, last);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) block[r][k] += left[r] * right;
        }
    }
};

#include "depthwise.hpp"

#include "channels_last.hpp"

#include "winograd.hpp"

template <class T> void conv(const Convolution &s, const T *x, const T *w, const T *bias, T *y) {
    if (!s.batch_last) return ChannelsLast<T>(s).conv(x, w, bias, y);
    if (Depthwise<T>::suits(s)) return Depthwise<T>(s).conv(x, w, bias, y);
    if (Winograd<T>::suits(s) && Winograd<T>(s).conv(x, w, bias, y)) return;
    for_positions(s.output, operations(s), [&](const long (&p)[3], long i) { conv_at(s, x, w, bias, y, p, i); });
}

// Where all strides are 1, it is a convolution of dy with the flipped window, which may have a faster form.
template <class T> void conv_input_gradient(const Convolution &s, const T *dy, const T *w, T *dx) {
    Convolution flipped = s;
    for (int axis = 0; axis < 3; axis++) {
        flipped.padding[axis] = s.dilation[axis] * (s.window[axis] - 1) - s.padding[axis];
        flipped.input[axis] = s.output[axis];
        flipped.output[axis] = s.input[axis];
    }
    std::swap(flipped.channels, flipped.outputs);
    const bool one = s.stride[0] == 1 && s.stride[1] == 1 && s.stride[2] == 1;
    const bool padded = flipped.padding[0] >= 0 && flipped.padding[1] >= 0 && flipped.padding[2] >= 0;
    const bool depthwise = Depthwise<T>::suits(s);
    if (!one || !padded || (s.batch_last && !depthwise && !Winograd<T>::suits(flipped))) {
        if (!s.batch_last) return ChannelsLast<T>(s).input_gradient(dy, w, dx);
        if (depthwise) return Depthwise<T>(s).input_gradient(dy, w, dx);
        return for_positions(s.input, operations(s),
                             [&](const long (&q)[3], long i) { conv_input_gradient_at(s, dy, w, dx, q, i); });
    }
    const long taps = volume(s.window), size = s.groups * s.channels * s.outputs;
    std::vector<T> weights(taps * size);
    for (long i = 0; i < taps; i++)
        for (long group = 0; group < s.groups; group++)
            transpose(w + i * size + group * s.outputs, s.groups * s.outputs, s.channels, s.outputs,
                      &weights[(taps - 1 - i) * size + group * s.channels], s.groups * s.channels);
    conv<T>(flipped, dy, weights.data(), nullptr, dx);
}

// Parts sum some pieces of rows each. Their number does not depend on that of threads: neither do the sums.
template <class Sums, class T> void add_weight_gradient(const Convolution &s, const T *x, const T *dy, T *dw) {
    const long length = Sums::piece_length(s), in_row = (s.output[2] + length - 1) / length,
               pieces = s.output[0] * s.output[1] * in_row;
    const long parts = parts_for(pieces < 16 ? pieces : 16, operations(s) * volume(s.output));
    std::vector<Sums> sums(parts, Sums(s, x, dy));
    pool::run(parts, [&](long part) {
        for (long i = part * pieces / parts; i < (part + 1) * pieces / parts; i++) {
            const long begin = i % in_row * length;
            sums[part].add(i / in_row, begin, std::min(begin + length, s.output[2]));
        }
    });
    for (long part = 1; part < parts; part++) sums[0].add(sums[part]);
    for (long t = 0; t < volume(s.window); t++)
        for (long c = 0; c < s.channels; c++)
            for (long o = 0; o < s.groups * s.outputs; o++) *dw++ = sums[0](t, c, o);
}

template <class T> void conv_weight_gradient(const Convolution &s, const T *x, const T *dy, T *dw) {
    if (!s.batch_last) ChannelsLast<T>(s).weight_gradient(x, dy, dw);
    else if (Depthwise<T>::suits(s)) Depthwise<T>(s).weight_gradient(x, dy, dw);
    else if (Winograd<T>::suits_weights(s) && Winograd<T>(s).weight_gradient(x, dy, dw)) return;
    else if (TiledSums<T>::suits(s)) add_weight_gradient<TiledSums<T>>(s, x, dy, dw);
    else add_weight_gradient<VectorSums<T>>(s, x, dy, dw);
}
