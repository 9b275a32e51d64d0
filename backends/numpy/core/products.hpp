// Matrix products in tiles, for operands of any steps. Each sum over k has one order, whatever the number of threads. A
// function of the product, such as an activation, is applied to each part while the cache holds it.

// A product reads more for its operations than a convolution, from the caches of other cores: its parts are larger.
constexpr double grain = 10;

// Sizes in bytes from which an operand is copied, so that a tile finds it side by side in the cache.
constexpr long max_unpacked_b = 3 << 19, max_unpacked_step_of_a = 1 << 8;

// Columns [first, first + width) of b, filled up with zeros to the width of a panel.
template <class T> void pack_panel(const Matrix<T> &b, long first, long width, T *panel, long panel_width) {
    if (width < panel_width) std::memset(panel, 0, sizeof(T) * b.rows * panel_width);
    const T *from = b.data + first * b.column_step;
    if (b.column_step == 1)
        for (long k = 0; k < b.rows; k++)
            std::memcpy(panel + k * panel_width, from + k * b.row_step, sizeof(T) * width);
    else if (b.row_step == 1) transpose(from, b.column_step, width, b.rows, panel, panel_width);
    else
        for (long k = 0; k < b.rows; k++)
            for (long j = 0; j < width; j++) panel[k * panel_width + j] = from[k * b.row_step + j * b.column_step];
}

// Whether the rows of a lie side by side, but one k far from the next: then those of a tile are copied.
template <class T> bool copies_rows(const Matrix<T> &a) {
    return a.row_step == 1 && a.column_step * static_cast<long>(sizeof(T)) >= max_unpacked_step_of_a && a.columns >= 64;
}

// Rows [first, end) of y, for the columns that t and run describe.
template <class T> void product_rows(const Matrix<T> &a, Tile<T> t, Run<T> run, long first, long end, long columns) {
    if (!copies_rows(a)) {
        run.w = a.data + first * a.row_step;
        t.runs = &run;
        return compute(t, end - first, columns);
    }
    static thread_local std::vector<T> rows;
    rows.resize(a.columns * tile_rows);
    run.w = rows.data();
    t.runs = &run;
    t.wk = tile_rows;
    const T *biases = t.bias_of_row;
    for (long row = first; row < end; row += tile_rows, t.y += tile_rows * t.yr) {
        t.bias_of_row = biases ? biases + row - first : nullptr;
        const long n = std::min<long>(tile_rows, end - row);
        if (n == tile_rows) // of a fixed size: copied without a call
            for (long k = 0; k < a.columns; k++)
                std::memcpy(&rows[k * tile_rows], a.data + row + k * a.column_step, sizeof(T) * tile_rows);
        else
            for (long k = 0; k < a.columns; k++)
                std::memcpy(&rows[k * tile_rows], a.data + row + k * a.column_step, sizeof(T) * n);
        compute(t, n, columns);
    }
}

// The parts of a product: blocks of rows and columns, whatever the number of threads.
template <class T> class ProductParts {
  public:
    explicit ProductParts(const Product<T> &p) : p(p), blocks((p.a.rows + tile_rows - 1) / tile_rows) {
        const Matrix<T> &a = p.a, &b = p.b;
        const bool large = b.rows * b.row_step * static_cast<long>(sizeof(T)) > max_unpacked_b;
        packed = b.column_step != 1 || (large && a.rows > 2 * tile_rows);
        const bool few = copies_rows(a) && !packed; // each copy of rows then serves all columns
        width = few ? b.columns : packed || a.rows > 1 ? panel_width : 8 * lanes<T>;
        across = (b.columns + width - 1) / width;
        // As many parts as the work is worth; columns are divided first, and rows where there are too few columns.
        pieces = parts_for(64, 2.0 * a.rows * a.columns * b.columns / grain);
        down = std::min(blocks, (pieces + across - 1) / across);
        by_row = a.rows > b.columns;
    }

    long count() const { return across * down; }
    bool shared() const { return pieces > 1; } // whether it pays to divide the work

    void operator()(long part) const {
        const long i = by_row ? part / across : part % down, j = by_row ? part % across : part / down;
        const long row = i * blocks / down * tile_rows, end = std::min((i + 1) * blocks / down * tile_rows, p.a.rows);
        const long first = j * width, columns = std::min(width, p.b.columns - first);
        Run<T> run{nullptr, p.b.data + first, p.a.columns};
        Tile<T> t{nullptr, 1, p.a.column_step, p.a.row_step, p.b.row_step, p.y + row * p.y_step + first, p.y_step};
        t.bias = p.bias ? p.bias + first : nullptr;
        t.bias_of_row = p.bias_of_row ? p.bias_of_row + row : nullptr;
        if (packed) {
            static thread_local std::vector<T> panel;
            panel.resize(p.b.rows * panel_width);
            pack_panel(p.b, first, columns, panel.data(), panel_width);
            run.x = panel.data();
            t.xk = panel_width;
        }
        if (p.column_sums && i == 0) {
            std::fill_n(p.column_sums + first, columns, T(0));
            for (long k = 0; k < p.b.rows; k++)
                for (long c = 0; c < columns; c++) p.column_sums[first + c] += run.x[k * t.xk + c];
        }
        product_rows(p.a, t, run, row, end, columns);
        if (p.after) Interpreter<T>(*p.after).run(row * p.y_step + first, end - row, columns, p.y_step);
    }

  private:
    static constexpr long panel_width = 2 * lanes<T>;
    const Product<T> &p;
    long blocks, width, across, down, pieces; // blocks of rows, columns of a part, parts in each direction
    bool packed, by_row;
};

// All parts as one job, those of one product spread among those of the others: each thread then works on the same rows
// of a result, whatever is computed beside it.
template <class T> void products(const std::vector<Product<T>> &all) {
    std::vector<ProductParts<T>> parts;
    bool shared = false;
    for (const Product<T> &p : all) {
        if (p.a.rows == 0 || p.b.columns == 0) continue;
        parts.emplace_back(p);
        shared |= parts.back().shared();
    }
    if (!shared) {
        for (const auto &p : parts)
            for (long part = 0; part < p.count(); part++) p(part);
        return;
    }
    std::vector<std::pair<long, long>> order; // product and part
    const auto later = [&](const auto &x, const auto &y) {
        return (2 * x.second + 1) * parts[y.first].count() < (2 * y.second + 1) * parts[x.first].count();
    };
    for (std::size_t i = 0; i < parts.size(); i++)
        for (long part = 0; part < parts[i].count(); part++) order.emplace_back(i, part);
    std::stable_sort(order.begin(), order.end(), later);
    pool::run(static_cast<long>(order.size()), [&](long i) { parts[order[i].first](order[i].second); });
}
