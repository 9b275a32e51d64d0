// Convolution, channels last, for few images: x (images, *input, groups channels), w (*window, channels, groups
// outputs) and y (images, *output, groups outputs), all contiguous.
//
// A tile's columns are the outputs and its rows are output positions in a row; x gives the factors that are broadcast.
// So that all positions have the same runs, x is padded: a copy costs less than tiles of one row.

template <class T> class ChannelsLast {
  public:
    explicit ChannelsLast(const Convolution &s)
        : s(s), images(s.images), all_channels(s.groups * s.channels), all_outputs(s.groups * s.outputs) {
        this->s.images = 1;
    }

    void conv(const T *x, const T *w, const T *bias, T *y) const {
        const Padded padded(s, images, x);
        const Convolution &s = padded.s;
        const Step step{1, s.stride[2] * all_channels, all_outputs, all_outputs};
        for_pieces(s.output, [&](long image, long i, long j, long begin, long end) {
            const T *from = padded.x + image * volume(s.input) * all_channels;
            T *to = y + (((image * s.output[0] + i) * s.output[1] + j) * s.output[2] + begin) * all_outputs;
            Run<T> runs[max_window];
            const long n_runs = swapped(runs, runs_from(s, from, w, {i, j, begin}, runs));
            if (!Depthwise<T>::suits(s))
                return multiply(runs, n_runs, step, to, end - begin, s.channels, s.outputs, bias);
            for (long q = 0; q < end - begin; q++)
                sum_depthwise(runs, n_runs, q * s.stride[2] * all_channels, bias, to + q * all_channels);
        });
    }

    // From the outputs whose windows cover a position, by weights with the channels in the last axis.
    void input_gradient(const T *dy, const T *w, T *dx) const {
        const long taps = volume(s.window), size = s.channels * all_outputs;
        std::vector<T> weights(taps * size);
        for (long t = 0; t < taps; t++)
            for (long group = 0; group < s.groups; group++)
                transpose(w + t * size + group * s.outputs, all_outputs, s.channels, s.outputs,
                          &weights[t * size + group * s.channels], all_channels);
        const auto interior = [&](long q) {
            const long last = q + s.padding[2];
            return last >= (s.window[2] - 1) * s.dilation[2] && last <= (s.output[2] - 1) * s.stride[2];
        };
        const Step step{1, all_outputs, all_channels, s.stride[2] * all_channels};
        for_pieces(s.input, [&](long image, long i, long j, long begin, long end) {
            const T *from = dy + image * volume(s.output) * all_outputs;
            T *to = dx + ((image * s.input[0] + i) * s.input[1] + j) * s.input[2] * all_channels;
            for (long first = begin; first < std::min(begin + s.stride[2], end); first++)
                for_stretches(first, end, s.stride[2], interior, [&](long q, long n) {
                    Run<T> runs[max_window];
                    const long n_runs = swapped(runs, runs_to(s, from, weights.data(), {i, j, q}, runs));
                    multiply(runs, n_runs, step, to + q * all_channels, n, s.outputs, s.channels);
                });
        });
    }

    // dw[t, c, o] = Σ_p x[p stride + t dilation - padding, c] dy[p, o]: the tile's rows are channels, for all positions
    // of a row of the window where they lie side by side. The number of parts does not depend on that of threads.
    void weight_gradient(const T *x, const T *dy, T *dw) const {
        const Padded padded(s, images, x);
        const Convolution &s = padded.s;
        const long rows = s.output[0] * s.output[1], size = volume(s.window) * s.channels * all_outputs;
        const long joined = s.groups == 1 && s.dilation[2] == 1 ? s.window[2] : 1;
        const long parts = parts_for(std::min(images * rows, 8L), operations(s) * images * volume(s.output));
        std::vector<T> sums((parts - 1) * size);
        std::fill_n(dw, size, 0);
        pool::run(parts, [&](long part) {
            T *to = part ? &sums[(part - 1) * size] : dw;
            for (long i = part * images * rows / parts; i < (part + 1) * images * rows / parts; i++) {
                const T *from = padded.x + i / rows * volume(s.input) * all_channels,
                        *row = dy + i * s.output[2] * all_outputs;
                for_spans(s, joined, i % rows, 0, s.output[2], [&](long t, long taps, const Span &span) {
                    if (span.begin >= span.end) return;
                    Run<T> run{from + span.offset(s, span.begin) * all_channels, row + span.begin * all_outputs,
                               span.end - span.begin};
                    const Step step{s.stride[2] * all_channels, 1, all_outputs, all_outputs, true};
                    multiply(&run, 1, step, to + t * s.channels * all_outputs, taps * s.channels, s.channels,
                             s.outputs);
                });
            }
        });
        for (long part = 1; part < parts; part++)
            for (long i = 0; i < size; i++) dw[i] += sums[(part - 1) * size + i];
    }

  private:
    static constexpr long piece_length = 2 * tile_rows;
    Convolution s; // of one image
    const long images, all_channels, all_outputs;

    // A copy of x, and the convolution of it, where some windows do not lie inside x.
    struct Padded {
        Convolution s;
        const T *x;

        Padded(const Convolution &original, long images, const T *from) : s(original), x(from) {
            bool interior = true;
            for (int axis = 0; axis < 3; axis++) {
                const long length = (s.output[axis] - 1) * s.stride[axis] + (s.window[axis] - 1) * s.dilation[axis] + 1;
                if (s.padding[axis] == 0 && length <= s.input[axis]) continue;
                interior = false;
                s.input[axis] = length;
                s.padding[axis] = 0;
            }
            if (interior) return;
            const long channels = s.groups * s.channels, *in = original.input, *pad = original.padding;
            const long end = std::min(s.input[2], pad[2] + in[2]), n = std::max(0l, end - pad[2]);
            copy.resize(images * volume(s.input) * channels);
            for (long image = 0; image < images; image++)
                for (long i = pad[0]; i < std::min(s.input[0], pad[0] + in[0]); i++)
                    for (long j = pad[1]; j < std::min(s.input[1], pad[1] + in[1]); j++)
                        std::copy_n(from + ((image * in[0] + i - pad[0]) * in[1] + j - pad[1]) * in[2] * channels,
                                    n * channels, copy.data() + offset(image, i, j, pad[2]) * channels);
            x = copy.data();
        }

      private:
        std::vector<T> copy;

        long offset(long image, long i, long j, long k) const {
            return ((image * s.input[0] + i) * s.input[1] + j) * s.input[2] + k;
        }
    };

    // Steps of a tile.
    struct Step {
        long wk, wr, xk, yr;
        bool accumulate = false;
    };

    // Call f(image, i, j, begin, end) for pieces of the last axis of all images, in parts for the pool.
    template <class Function> void for_pieces(const long (&lengths)[3], const Function &f) const {
        const long in_row = (lengths[2] + piece_length - 1) / piece_length, rows = lengths[0] * lengths[1];
        for_ranges(images * rows * in_row, operations(s) * piece_length, [&](long first, long last) {
            for (long piece = first; piece < last; piece++) {
                const long row = piece / in_row, begin = piece % in_row * piece_length;
                f(row / rows, row % rows / lengths[1], row % lengths[1], begin,
                  std::min(begin + piece_length, lengths[2]));
            }
        });
    }

    // Runs whose weights are what the tile broadcasts; here the weights are its columns.
    static long swapped(Run<T> *runs, long n) {
        for (long i = 0; i < n; i++) std::swap(runs[i].w, runs[i].x);
        return n;
    }

    // y[g] = Σ_i w_i[g] x_i[g] + bias[g] for groups of one channel and one output: vectors of groups.
    void sum_depthwise(const Run<T> *runs, long n_runs, long shift, const T *bias, T *y) const {
        for_vectors<T>(all_channels, [&](auto whole, long g, long n) LAMBDA {
            Vec<T> sum{};
            for (long i = 0; i < n_runs; i++)
                sum += load_some<whole.value>(runs[i].w + shift + g, n) * load_some<whole.value>(runs[i].x + g, n);
            if (bias) sum += load_some<whole.value>(bias + g, n);
            store_some<whole.value>(y + g, sum, n);
        });
    }

    // All groups of a tile, from the runs of the first: `inputs` and `outputs` of each group.
    void multiply(Run<T> *runs, long n_runs, const Step &step, T *y, long rows, long inputs, long outputs,
                  const T *bias = nullptr) const {
        Tile<T> t{runs, n_runs, step.wk, step.wr, step.xk, y, step.yr, step.accumulate, bias};
        for (long group = 0; group < s.groups; group++, t.y += outputs) {
            compute(t, rows, outputs);
            if (bias) t.bias += outputs;
            for (long i = 0; i < n_runs; i++) runs[i].w += inputs, runs[i].x += outputs;
        }
    }
};
