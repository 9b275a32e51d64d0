// Pooling: x (images, *input, width), y (images, *output, width), all contiguous. A batch that is last in memory is one
// image whose width is that of the channels of all images.
//
//     y[n, p, c] = max or Σ of x[n, q, c]    over the q that the window at p covers
//
// All work is done along the width, in vectors. Which q belong to which p is found once for each axis, and not again at
// each position. Plain NumPy passes over whole arrays once for each position of the window, or for each axis; here
// every number is read from memory once, while it is in the cache, and written once.

// For each index of one array along an axis, the indices of the other array that it is linked with, ascending.
class Links {
  public:
    // The inputs that the window of each output covers, or, if `reversed`, the outputs whose windows cover each input.
    Links(const Pooling &s, int axis, bool reversed) : starts((reversed ? s.input : s.output)[axis] + 1) {
        for_links(s, axis, [&](long p, long q) { starts[(reversed ? q : p) + 1]++; });
        for (std::size_t i = 1; i < starts.size(); i++) starts[i] += starts[i - 1];
        others.resize(starts.back());
        std::vector<long> next = starts;
        for_links(s, axis, [&](long p, long q) { others[next[reversed ? q : p]++] = reversed ? p : q; });
    }

    const long *begin(long index) const { return others.data() + starts[index]; }
    const long *end(long index) const { return others.data() + starts[index + 1]; }

    long total() const { return starts.back(); }

    // The most links of one index.
    long most() const {
        long most = 0;
        for (std::size_t i = 1; i < starts.size(); i++) most = std::max(most, starts[i] - starts[i - 1]);
        return most;
    }

  private:
    std::vector<long> starts, others;

    template <class Function> static void for_links(const Pooling &s, int axis, const Function &link) {
        for (long p = 0; p < s.output[axis]; p++)
            for (long k = 0; k < s.window[axis]; k++) {
                const long q = p * s.stride[axis] + k * s.dilation[axis] - s.padding[axis];
                if (q >= 0 && q < s.input[axis]) link(p, q);
            }
    }
};

// The links of three axes, of which an array of the lengths `others` is linked with one of the lengths `own`.
class Neighbours {
  public:
    Neighbours(const Pooling &s, bool reversed)
        : own(reversed ? s.input : s.output), others(reversed ? s.output : s.input),
          links{Links(s, 0, reversed), Links(s, 1, reversed), Links(s, 2, reversed)} {}

    long total() const { return links[0].total() * links[1].total() * links[2].total(); }

    long most() const { return links[0].most() * links[1].most() * links[2].most(); }

    // Write the positions in `others` that one of `own` is linked with; return their number. Of the axes, the last one
    // comes slowest: this is the order in which equal maxima take precedence.
    long find(const long (&position)[3], long *positions) const {
        long *next = positions;
        for (const long *c = links[2].begin(position[2]); c != links[2].end(position[2]); c++)
            for (const long *b = links[1].begin(position[1]); b != links[1].end(position[1]); b++)
                for (const long *a = links[0].begin(position[0]); a != links[0].end(position[0]); a++)
                    *next++ = (*a * others[1] + *b) * others[2] + *c;
        return next - positions;
    }

    // Call at(image, position, index) for the indices [begin, end) of all positions of all images.
    template <class Function> void walk(long begin, long end, const Function &at) const {
        if (begin == end) return; // an axis may have the length 0
        long image = begin / volume(own);
        long position[3] = {begin / (own[1] * own[2]) % own[0], begin / own[2] % own[1], begin % own[2]};
        for (long i = begin; i < end; i++) { // without divisions, which take longer than a few channels
            at(image, position, i);
            if (++position[2] < own[2]) continue;
            position[2] = 0;
            if (++position[1] < own[1]) continue;
            position[1] = 0;
            if (++position[0] < own[0]) continue;
            position[0] = 0;
            image++;
        }
    }

  private:
    const long (&own)[3], (&others)[3];
    const Links links[3];
};

// Combine `vectors` vectors of columns at the positions; of `last` columns each, unless they are whole.
template <class Operation, int vectors, bool whole, class T>
INLINE void combine_columns(const T *from, const long *positions, long n, long width, T factor, T *to, long last) {
    constexpr bool is_sum = std::is_same<Operation, Sum>::value;
    Vec<T> combined[vectors];
    for (Vec<T> &v : combined) v = broadcast(is_sum ? T(0) : -std::numeric_limits<T>::infinity());
    for (long i = 0; i < n; i++) {
        const T *p = from + positions[i] * width;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            combined[v] = Operation::combine(combined[v], load_some<whole>(p + v * lanes<T>, last));
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        store_some<whole>(to + v * lanes<T>, is_sum ? combined[v] * factor : combined[v], last);
}

// to[i] = the numbers of `from` that i is linked with, combined, by position and image; sums are multiplied by a
// factor.
template <class Operation, class T> void pool_windows(const Pooling &s, bool reversed, const T *from, T *to) {
    const Neighbours neighbours(s, reversed);
    const long n = s.images * volume(reversed ? s.input : s.output), others = volume(reversed ? s.output : s.input);
    const long width = s.width, most = neighbours.most(), parts = parts_for(n, double(n) * (most + 1) * (width + 16));
    const T factor = static_cast<T>(s.factor);
    std::vector<long> all_positions(parts * most);
    pool::run(parts, [&](long part) {
        long *positions = all_positions.data() + part * most;
        neighbours.walk(part * n / parts, (part + 1) * n / parts, [&](long image, const long (&position)[3], long i) {
            const long linked = neighbours.find(position, positions);
            const T *x = from + image * others * width;
            T *y = to + i * width;
            long c = 0;
            for (; c + 4 * lanes<T> <= width; c += 4 * lanes<T>)
                combine_columns<Operation, 4, true>(x + c, positions, linked, width, factor, y + c, 0);
            for (; c + lanes<T> <= width; c += lanes<T>)
                combine_columns<Operation, 1, true>(x + c, positions, linked, width, factor, y + c, 0);
            if (c < width)
                combine_columns<Operation, 1, false>(x + c, positions, linked, width, factor, y + c, width - c);
        });
    });
}

template <class T> void max_pool(const Pooling &s, const T *x, T *y) { pool_windows<Maximum>(s, false, x, y); }

template <class T> void sum_pool(const Pooling &s, const T *x, T *y) { pool_windows<Sum>(s, false, x, y); }

// The gradient of sums: dx at q is the sum of dy over the windows that cover q.
template <class T> void sum_pool_gradient(const Pooling &s, const T *dy, T *dx) { pool_windows<Sum>(s, true, dy, dx); }

template <class T> void zero(T *p, long n) {
    for_ranges(n, 1, [&](long begin, long end) { std::fill(p + begin, p + end, T(0)); });
}

// The gradient of maxima: each dy is added to dx at the first maximum of its window. If windows share elements of dx,
// the parts are not output positions but blocks of columns: no two of them write to the same place, and sums have one
// order.
template <class T> struct MaxPoolGradient {
    const Pooling &s;
    const Neighbours &neighbours;
    const T *dy, *x, *y;
    T *dx;
    bool disjoint; // windows do not overlap

    // The outputs [begin, end) of all positions of all images, and some columns of them.
    void operator()(long begin, long end, long first, long columns, long *positions) const {
        neighbours.walk(begin, end, [&](long image, const long (&position)[3], long i) {
            const long n = neighbours.find(position, positions), last = first + columns;
            const T *dyp = dy + i * s.width, *yp = y + i * s.width;
            const long start = image * volume(s.input) * s.width;
            long c = first;
            for (; c + 2 * lanes<T> <= last; c += 2 * lanes<T>)
                scatter<2, true>(dyp + c, yp + c, start + c, positions, n, 0);
            for (; c + lanes<T> <= last; c += lanes<T>) scatter<1, true>(dyp + c, yp + c, start + c, positions, n, 0);
            if (c < last) scatter<1, false>(dyp + c, yp + c, start + c, positions, n, last - c);
        });
    }

    template <int vectors, bool whole>
    INLINE void scatter(const T *dyp, const T *yp, long start, const long *positions, long n, long last) const {
        Vec<T> remaining[vectors], maximum[vectors]; // what of dy is not written yet
        for (int v = 0; v < vectors; v++) {
            remaining[v] = load_some<whole>(dyp + v * lanes<T>, last);
            maximum[v] = load_some<whole>(yp + v * lanes<T>, last);
        }
        for (long i = 0; i < n; i++) {
            const long offset = start + positions[i] * s.width;
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                const auto found = load_some<whole>(x + offset + v * lanes<T>, last) == maximum[v];
                T *p = dx + offset + v * lanes<T>;
                Vec<T> gradient = found ? remaining[v] : Vec<T>{};
                if (!disjoint) gradient += load_some<whole>(p, last);
                store_some<whole>(p, gradient, last);
                remaining[v] = found ? Vec<T>{} : remaining[v];
            }
        }
    }
};

inline bool windows_are_disjoint(const Pooling &s) {
    for (int axis = 0; axis < 3; axis++)
        if (s.output[axis] > 1 && s.dilation[axis] * (s.window[axis] - 1) >= s.stride[axis]) return false;
    return true;
}

template <class T> void max_pool_gradient(const Pooling &s, const T *dy, const T *x, const T *y, T *dx) {
    const Neighbours neighbours(s, false);
    const MaxPoolGradient<T> gradient{s, neighbours, dy, x, y, dx, windows_are_disjoint(s)};
    const long out = volume(s.output), width = s.width, most = neighbours.most();
    // Blocks of at least 16 vectors: shorter ones would read memory in pieces.
    const long blocks = gradient.disjoint ? out : std::max(1l, width / (16 * lanes<T>)), pieces = s.images * blocks;
    const long parts = parts_for(pieces, 3.0 * s.images * out * (most + 1) * (width + 16));
    if (!gradient.disjoint || neighbours.total() < volume(s.input)) zero(dx, s.images * volume(s.input) * width);
    std::vector<long> all_positions(parts * most);
    pool::run(parts, [&](long part) {
        long *positions = all_positions.data() + part * most;
        const long begin = part * pieces / parts, end = (part + 1) * pieces / parts;
        if (gradient.disjoint) return gradient(begin, end, 0, width, positions);
        for (long i = begin; i < end; i++) {
            const long block = i % blocks, first = block * width / blocks, last = (block + 1) * width / blocks;
            gradient(i / blocks * out, (i / blocks + 1) * out, first, last - first, positions);
        }
    });
}
