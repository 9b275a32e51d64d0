// Nearest centres, and the sums of k-means: x (rows, features), centres (clusters, features), origin (features,).
//
//     label[r] = argmin_k |x[r] - c[k]|²        sums[k] = Σ x[r] - origin over the rows of label k
//
// |x - c|² = |x|² - 2 x·c + |c|², the origin subtracted from both first. The rows of a block are read once: their
// products with all centres, by the tile, and their sums find them in the cache. Plain NumPy writes the differences,
// the distances and a one-hot matrix to memory.

constexpr long cluster_rows = 4 * tile_rows; // rows of a block

// Σ_j (a[j] - b[j])²
template <class T> T squared_distance(const T *a, const T *b, long n) {
    Vec<T> sums{};
    for_vectors<T>(n, [&](auto whole, long j, long left) {
        const Vec<T> d = load_some<whole.value>(a + j, left) - load_some<whole.value>(b + j, left);
        sums += d * d;
    });
    return reduce_add<T>(sums);
}

// The sum over all rows, for any number of threads in one order.
template <class T> void sum_of_squares(long rows, long features, const T *x, const T *origin, T *sum) {
    const long parts = parts_for(rows, 3.0 * rows * features);
    std::vector<double> sums(parts);
    pool::run(parts, [&](long part) {
        double own = 0;
        for (long r = part * rows / parts; r < (part + 1) * rows / parts; r++)
            own += squared_distance(x + r * features, origin, features);
        sums[part] = own;
    });
    *sum = T(std::accumulate(sums.begin(), sums.end(), 0.0));
}

// The index of the first of the smallest numbers, which are whole vectors; 0 if any is NaN.
template <class T> long argmin(const T *p, long n) {
    Vec<T> v = load(p);
    for (long i = lanes<T>; i < n; i += lanes<T>) v = Minimum::combine(v, load(p + i));
    const T least = reduce_min<T>(v);
    long i = 0;
    while (p[i] > least) i++;
    return i;
}

// The factors -2 (c[k] - origin) as columns, as the tile reads them, and |c[k] - origin|²; infinity fills the last
// vector of these.
template <class T> struct PackedCentres {
    const Clusters &s;
    const T *centres;
    long width; // clusters, rounded up to whole vectors
    std::vector<T> columns, squares;

    PackedCentres(const Clusters &s, const T *centres, const T *origin)
        : s(s), centres(centres), width((s.clusters + lanes<T> - 1) / lanes<T> * lanes<T>), columns(s.features * width),
          squares(width, std::numeric_limits<T>::infinity()) {
        for (long k = 0; k < s.clusters; k++) {
            const T *centre = centres + k * s.features;
            squares[k] = squared_distance(centre, origin, s.features);
            for (long j = 0; j < s.features; j++) columns[j * width + k] = -2 * (centre[j] - origin[j]);
        }
    }

    // The nearest centre of x, from the scores |c[k] - origin|² - 2 (x - origin)·(c[k] - origin). Rounding may swap
    // scores far from the origin: centres within the rounding error are compared by |x - c[k]|² directly.
    long nearest(const T *x, T square, const T *scores) const {
        const long first = argmin(scores, width);
        const T rounding = 2 * std::numeric_limits<T>::epsilon() * (1 + std::sqrt(T(s.features)));
        const T most = scores[first] + rounding * (square + squares[first]);
        Ints<T> candidates{}; // minus their number
        for (long k = 0; k < width; k += lanes<T>)
            candidates += load(&scores[k]) - rounding * (square + load(&squares[k])) <= most;
        typename Format<T>::Int count = 0;
        for (long lane = 0; lane < lanes<T>; lane++) count -= candidates[lane];
        if (count <= 1) return first;
        long best = first;
        T least = std::numeric_limits<T>::infinity();
        for (long k = 0; k < s.clusters; k++) {
            if (scores[k] - rounding * (square + squares[k]) > most) continue;
            const T distance = squared_distance(x, centres + k * s.features, s.features);
            if (distance < least) least = distance, best = k;
        }
        return best;
    }
};

// Call use(row, differences, label, distance) for the rows [begin, end): the differences x - origin of a row, its
// nearest centre, and its squared distance to that.
template <class T, class Use> void for_nearest(const Clusters &s, const T *x, const T *origin,
                                               const PackedCentres<T> &centres, long begin, long end, const Use &use) {
    const long step = s.features + lanes<T>; // not a power of two, for which the rows would share few lines of a cache
    std::vector<T> differences(cluster_rows * step), scores(cluster_rows * centres.width), squares(cluster_rows);
    const Run<T> run{differences.data(), centres.columns.data(), s.features};
    const Tile<T> tile{&run, 1, 1, step, centres.width, scores.data(), centres.width, false, centres.squares.data()};
    for (long first = begin; first < end; first += cluster_rows) {
        const long rows = std::min(cluster_rows, end - first);
        for (long r = 0; r < rows; r++) {
            const T *from = x + (first + r) * s.features;
            Vec<T> sums{};
            for_vectors<T>(s.features, [&](auto whole, long j, long n) {
                const Vec<T> d = load_some<whole.value>(from + j, n) - load_some<whole.value>(origin + j, n);
                store_some<whole.value>(&differences[r * step + j], d, n);
                sums += d * d;
            });
            squares[r] = reduce_add<T>(sums);
        }
        compute(tile, rows, centres.width);
        for (long r = 0; r < rows; r++) {
            const T *row = &scores[r * centres.width];
            const long label = centres.nearest(x + (first + r) * s.features, squares[r], row);
            const T distance = squares[r] + row[label]; // rounding may make it negative
            use(first + r, &differences[r * step], label, distance < 0 ? T(0) : distance);
        }
    }
}

// Distances are computed from x - c, so they stay exact far from the origin.
template <class T> void nearest_centres(const Clusters &s, const T *x, const T *centres, const T *origin,
                                        std::int64_t *labels, T *distances) {
    const PackedCentres<T> packed(s, centres, origin);
    for_ranges(s.rows, 2.0 * s.features * packed.width, [&](long begin, long end) {
        for_nearest(s, x, origin, packed, begin, end, [&](long row, const T *, long label, T) {
            labels[row] = label;
            distances[row] = squared_distance(x + row * s.features, centres + label * s.features, s.features);
        });
    });
}

// Each part has its own sums, which are added then. The number of parts does not depend on that of threads: neither do
// the sums.
template <class T>
void cluster_sums(const Clusters &s, const T *x, const T *centres, const T *origin, T *sums, T *counts, T *cost) {
    const PackedCentres<T> packed(s, centres, origin);
    const long parts = parts_for(std::min(s.rows, 16l), 2.0 * s.rows * s.features * packed.width);
    const long length = s.clusters * s.features;
    std::vector<T> partial(parts * length), partial_counts(parts * s.clusters);
    std::vector<double> costs(parts);
    pool::run(parts, [&](long part) {
        T *own = partial.data() + part * length, *own_counts = partial_counts.data() + part * s.clusters;
        double own_cost = 0;
        for_nearest(s, x, origin, packed, part * s.rows / parts, (part + 1) * s.rows / parts,
                    [&](long, const T *differences, long label, T distance) {
                        add_rows(differences, s.features, 1, s.features, own + label * s.features);
                        own_counts[label] += 1;
                        own_cost += distance;
                    });
        costs[part] = own_cost;
    });
    std::fill_n(sums, length, T(0));
    std::fill_n(counts, s.clusters, T(0));
    add_rows(partial.data(), length, parts, length, sums);
    add_rows(partial_counts.data(), s.clusters, parts, s.clusters, counts);
    *cost = T(std::accumulate(costs.begin(), costs.end(), 0.0));
}
