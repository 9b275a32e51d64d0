// Matrix products in tiles, for operands of any steps. Each sum over k has one order, whatever the number of threads. A
// function of the product, such as an activation, is applied to each part while the cache holds it.

constexpr long longest_run = 512; // of k in one tile: its operands then stay in the cache

// Steps in bytes above which an operand is packed: a tile then finds it side by side in the cache.
constexpr long max_step_of_b = (1 << 11) - 1, max_step_of_a = (1 << 8) - 1;

// Rows [k, k + length) and columns [first, first + columns) of b, filled up with zeros to the width of a panel.
template <class T> void pack_panel(const Matrix<T> &b, long k, long length, long first, long columns, T *panel) {
    constexpr long panel_width = 2 * lanes<T>;
    if (columns < panel_width) std::memset(panel, 0, sizeof(T) * length * panel_width);
    const T *from = b.data + k * b.row_step + first * b.column_step;
    if (b.column_step == 1 && columns == panel_width)
        for (long i = 0; i < length; i++, from += b.row_step, panel += panel_width)
            for (long j = 0; j < panel_width; j += lanes<T>) store(panel + j, load(from + j));
    else if (b.column_step == 1)
        for (long i = 0; i < length; i++)
            std::memcpy(panel + i * panel_width, from + i * b.row_step, sizeof(T) * columns);
    else if (b.row_step == 1) transpose(from, b.column_step, columns, length, panel, panel_width);
    else
        for (long i = 0; i < length; i++)
            for (long j = 0; j < columns; j++) panel[i * panel_width + j] = from[i * b.row_step + j * b.column_step];
}

// A matrix in panels of columns, packed once for many products.
template <class T> class Panels {
  public:
    void pack(const Matrix<T> &b) {
        length = b.rows;
        memory.resize((b.columns + width - 1) / width * width * length);
        for (long c = 0; c < b.columns; c += width)
            pack_panel(b, 0, length, c, std::min(width, b.columns - c), &memory[c * length]);
    }

    // y = a b + bias, or y += a b, in the first columns.
    void multiply(Rows<const T> a, long rows, long columns, Rows<T> y, const T *bias = nullptr,
                  bool accumulate = false) const {
        Run<T> run{a.data, nullptr, length};
        Tile<T> t{&run, 1, 1, a.step, width, nullptr, y.step, accumulate};
        for (long c = 0; c < columns; c += width) {
            run.x = &memory[c * length];
            t.y = y.data + c;
            t.bias = bias ? bias + c : nullptr;
            compute(t, rows, std::min(width, columns - c));
        }
    }

  private:
    static constexpr long width = 2 * lanes<T>;
    long length;
    std::vector<T> memory;
};

// What a product costs, in operations of a convolution: tiles of it are fast, but few rows read b for few operations.
template <class T> double work(const Product<T> &p) { return p.b.rows * p.b.columns * (0.2 * p.a.rows + 4); }

// The parts of a product: blocks of rows and columns, whatever the number of threads.
template <class T> class ProductParts {
  public:
    explicit ProductParts(const Product<T> &p) : p(p), blocks((p.a.rows + tile_rows - 1) / tile_rows) {
        const Matrix<T> &a = p.a, &b = p.b;
        by_row = a.rows > b.columns;
        copied =
            a.row_step == 1 && a.column_step * static_cast<long>(sizeof(T)) > max_step_of_a && b.columns > panel_width;
        packed =
            b.column_step != 1 || (b.row_step * static_cast<long>(sizeof(T)) > max_step_of_b && a.rows > 4 * tile_rows);
        const long panels = (b.columns + panel_width - 1) / panel_width;
        width = panel_width;
        // Each copy of rows serves many columns; but where there are more columns than rows, threads share the columns.
        if (copied) width *= by_row ? std::min(panels, 8l) : std::max(1l, std::min(panels / 4, 8l));
        else if (a.rows == 1 && !packed) width *= 4;
        across = (b.columns + width - 1) / width;
        // As many parts as the work is worth; columns are divided first, and rows where there are too few columns.
        pieces = parts_for(64, work(p));
        // Each part packs b again: then no more parts than the threads can share.
        const long wanted = packed ? std::min(pieces, 2l * pool::threads()) : pieces;
        down = std::min(blocks, (wanted + across - 1) / across);
    }

    long count() const { return across * down; }
    bool shared() const { return pieces > 1; } // whether it pays to divide the work

    void operator()(long part) const {
        const long i = by_row ? part / across : part % down, j = by_row ? part % across : part / down;
        const long row = i * blocks / down * tile_rows, end = std::min((i + 1) * blocks / down * tile_rows, p.a.rows);
        const long first = j * width, columns = std::min(width, p.b.columns - first);
        if (p.column_sums && i == 0) add_columns(first, columns);
        long k = 0;
        do {
            const long length = std::min(longest_run, p.a.columns - k);
            add_products(row, end, first, columns, k, length);
            k += length;
        } while (k < p.a.columns);
        if (p.after) Interpreter<T>(*p.after).run(row * p.y_step + first, end - row, columns, p.y_step);
    }

  private:
    static constexpr long panel_width = 2 * lanes<T>;
    const Product<T> &p;
    long blocks, width, across, down, pieces; // blocks of rows, columns of a part, parts in each direction
    bool copied, packed, by_row;

    // Rows [k, k + length) of b, for rows [row, end) and some columns of y.
    void add_products(long row, long end, long first, long columns, long k, long length) const {
        const Matrix<T> &a = p.a, &b = p.b;
        static thread_local std::vector<T> panels, rows;
        if (packed) {
            panels.resize((columns + panel_width - 1) / panel_width * panel_width * length);
            for (long c = 0; c < columns; c += panel_width)
                pack_panel(b, k, length, first + c, std::min(panel_width, columns - c), &panels[c * length]);
        }
        if (copied) rows.resize(tile_rows * length);
        const long at_once = copied ? tile_rows : end - row;
        Run<T> run{nullptr, nullptr, length};
        Tile<T> t{
            &run,     1,    copied ? tile_rows : a.column_step, a.row_step, packed ? panel_width : b.row_step, nullptr,
            p.y_step, k > 0};
        const bool last = k + length == p.a.columns;
        for (; row < end; row += at_once) {
            const long n = std::min(at_once, end - row);
            run.w = a.data + row * a.row_step + k * a.column_step;
            if (copied) {
                copy_rows(run.w, n, length, rows.data());
                run.w = rows.data();
            }
            const long step = packed ? panel_width : columns;
            for (long c = 0; c < columns; c += step) {
                run.x = packed ? &panels[c * length] : b.data + k * b.row_step + first + c;
                t.y = p.y + row * p.y_step + first + c;
                t.bias = last && p.bias ? p.bias + first + c : nullptr;
                t.bias_of_row = last && p.bias_of_row ? p.bias_of_row + row : nullptr;
                compute(t, n, std::min(step, columns - c));
            }
        }
    }

    // The rows of a tile side by side for each k.
    void copy_rows(const T *from, long n, long length, T *to) const {
        if (n == tile_rows) // of a fixed size: copied without a call
            for (long k = 0; k < length; k++)
                std::memcpy(to + k * tile_rows, from + k * p.a.column_step, sizeof(T) * tile_rows);
        else
            for (long k = 0; k < length; k++)
                std::memcpy(to + k * tile_rows, from + k * p.a.column_step, sizeof(T) * n);
    }

    void add_columns(long first, long columns) const {
        T *sums = p.column_sums + first;
        std::fill_n(sums, columns, T(0));
        const T *from = p.b.data + first * p.b.column_step;
        if (p.b.column_step == 1) add_rows(from, p.b.row_step, p.b.rows, columns, sums);
        else
            for (long c = 0; c < columns; c++, from += p.b.column_step)
                for (long k = 0; k < p.b.rows; k++) sums[c] += from[k * p.b.row_step];
    }
};

// How many pieces the sum over k is divided into, whatever the number of threads: where the operands are much larger
// than the result, each thread then reads its own piece of them, and no other. For few rows, reading b takes longest.
template <class T> long pieces_of_sum(const Product<T> &p) {
    const long k = p.a.columns;
    if (p.a.rows * p.b.columns > 8192 || k < 16 * std::max(p.a.rows, p.b.columns) || work(p) < 400e3) return 1;
    long pieces = 1;
    while (pieces < 16 && k / (2 * pieces) >= 256) pieces *= 2;
    return pieces;
}

// The product of each piece, and then their sum.
template <class T> void add_pieces(const Product<T> &p, long pieces) {
    const long columns = p.b.columns, size = p.a.rows * columns;
    std::vector<T> sums(pieces * (size + columns));
    pool::run(pieces, [&](long i) {
        const long k = i * p.a.columns / pieces, end = (i + 1) * p.a.columns / pieces;
        Product<T> piece{p.a, p.b, &sums[i * (size + columns)], columns};
        piece.a.data += k * p.a.column_step;
        piece.b.data += k * p.b.row_step;
        piece.a.columns = piece.b.rows = end - k;
        if (p.column_sums) piece.column_sums = piece.y + size;
        const ProductParts<T> parts(piece);
        for (long part = 0; part < parts.count(); part++) parts(part);
    });
    for (long i = 1; i < pieces; i++)
        for (long j = 0; j < size + columns; j++) sums[j] += sums[i * (size + columns) + j];
    if (p.column_sums) std::copy_n(&sums[size], columns, p.column_sums);
    for (long row = 0; row < p.a.rows; row++)
        for (long c = 0; c < columns; c++)
            p.y[row * p.y_step + c] = sums[row * columns + c] + (p.bias          ? p.bias[c]
                                                                 : p.bias_of_row ? p.bias_of_row[row]
                                                                                 : T(0));
    if (p.after) Interpreter<T>(*p.after).run(0, p.a.rows, columns, p.y_step);
}

// Run the parts of all products as one job, in proportional order, so that each thread keeps its rows in every product.
template <class T> void products(const std::vector<Product<T>> &all) {
    std::vector<ProductParts<T>> parts;
    bool shared = false;
    for (const Product<T> &p : all) {
        if (p.a.rows == 0 || p.b.columns == 0) continue;
        if (const long pieces = pieces_of_sum(p); pieces > 1) {
            add_pieces(p, pieces);
            continue;
        }
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

// Products of one shape, each of them in one thread; if there are few but large ones, each of them in all threads.
template <class T> void stacked_products(const std::vector<Product<T>> &all) {
    const long n = static_cast<long>(all.size());
    if (n < 16 && n > 0 && ProductParts<T>(all[0]).shared()) return products(all);
    for_ranges(n, n ? work(all[0]) : 0, [&](long begin, long end) {
        for (long i = begin; i < end; i++) {
            const ProductParts<T> parts(all[i]);
            for (long part = 0; part < parts.count(); part++) parts(part);
        }
    });
}
