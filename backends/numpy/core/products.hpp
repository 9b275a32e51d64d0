// Matrix products in tiles: y = start + a b, for a and b of any steps; the columns of y are contiguous. Each sum over k
// has one order, whatever the number of threads.

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
    for (long row = first; row < end; row += tile_rows, t.y += tile_rows * t.yr) {
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

template <class T> void product(const Matrix<T> &a, const Matrix<T> &b, const T *start, T *y, long y_step) {
    if (a.rows == 0 || b.columns == 0) return;
    constexpr long panel_width = 2 * lanes<T>;
    const bool large = b.rows * b.row_step * static_cast<long>(sizeof(T)) > max_unpacked_b && a.rows > 2 * tile_rows;
    const bool packed = b.column_step != 1 || large;
    const bool by_rows = copies_rows(a) && !packed; // each copy then serves all columns
    const long columns_each = by_rows ? b.columns : packed || a.rows > 1 ? panel_width : 8 * lanes<T>; // of one part
    const long across = (b.columns + columns_each - 1) / columns_each;
    // As many parts as the work is worth; columns are divided first, and rows where there are too few columns.
    const long work = parts_for(64, 2.0 * a.rows * a.columns * b.columns / grain);
    const long blocks = (a.rows + tile_rows - 1) / tile_rows;
    const long down = std::min(blocks, (work + across - 1) / across);
    const bool by_row = a.rows > b.columns;
    const auto part_of = [&](long part) {
        const long i = by_row ? part / across : part % down, j = by_row ? part % across : part / down;
        const long first = j * columns_each, width = std::min(columns_each, b.columns - first);
        const long row = i * blocks / down * tile_rows;
        const long end = std::min((i + 1) * blocks / down * tile_rows, a.rows);
        Run<T> run{nullptr, b.data + first, a.columns};
        Tile<T> t{nullptr,    1,          a.column_step,
                  a.row_step, b.row_step, y + row * y_step + first,
                  y_step,     false,      start ? start + first : nullptr};
        if (packed) {
            static thread_local std::vector<T> panel;
            panel.resize(b.rows * panel_width);
            pack_panel(b, first, width, panel.data(), panel_width);
            run.x = panel.data();
            t.xk = panel_width;
        }
        product_rows(a, t, run, row, end, width);
    };
    if (work > 1) return pool::run(across * down, part_of);
    for (long part = 0; part < across * down; part++) part_of(part);
}
