// Recurrent layers: portanet/kernels/recurrence.py has the formulas.
//
// A step is two products, a = x w_ih + b_ih and u = h w_hh + b_hh, and an elementwise program. Each thread takes some
// rows of the batch through all steps, so that it waits for no other thread, and its states stay in the cache.

// Call work(first row, end) for parts of the batch.
template <class Work> void for_batch_parts(const Recurrence &s, const Work &work) {
    const double operations = 0.4 * s.steps * s.batch * (s.inputs + s.hidden) * s.hidden * s.gates;
    const long parts = std::min({static_cast<long>(pool::threads()), (s.batch + 3) / 4, parts_for(64, operations)});
    pool::run(parts, [&](long i) { work(i * s.batch / parts, (i + 1) * s.batch / parts); });
}

// Arrays of a step side by side in each row, as many as `count`, with `hidden` numbers each.
template <class T, class U> void add_parts(std::vector<Rows<T>> &rows, U *first, long count, long hidden) {
    for (long i = 0; i < count; i++) rows.push_back({first + i * hidden, count * hidden});
}

// The program takes a, u and the states, and gives the next states and what its gradient needs.
template <class T> void recurrence(const Recurrence &s, const T *x, const T *w_ih, const T *w_hh, const T *b_ih,
                                   const T *b_hh, const T *kept, const Program<T> &program, T *states, T *saved) {
    const long hidden = s.hidden, width = s.gates * hidden, size = s.batch * hidden;
    Panels<T> panels_ih, panels_hh;
    panels_ih.pack({w_ih, s.inputs, width, width, 1});
    panels_hh.pack({w_hh, hidden, width, width, 1});
    for_batch_parts(s, [&](long begin, long end) {
        Interpreter<T> interpreter(program);
        const long rows = end - begin;
        std::vector<T> memory(2 * rows * width);
        T *a = memory.data(), *u = a + rows * width;
        for (long t = 0; t < s.steps; t++) {
            const long row = t * s.batch + begin;
            const auto state = [&](long i, long t) { return states + (i * (s.steps + 1) + t) * size + begin * hidden; };
            panels_ih.multiply({x + row * s.inputs, s.inputs}, rows, width, {a, width}, b_ih);
            panels_hh.multiply({state(0, t), hidden}, rows, width, {u, width}, b_hh);
            std::vector<Rows<const T>> arguments;
            std::vector<Rows<T>> results;
            add_parts(arguments, a, s.gates, hidden);
            add_parts(arguments, u, s.gates, hidden);
            for (long i = 0; i < s.states; i++) {
                arguments.push_back({state(i, t), hidden});
                results.push_back({state(i, t + 1), hidden});
            }
            add_parts(results, saved + row * s.saved * hidden, s.saved, hidden);
            interpreter.run(rows, hidden, arguments, results);
            for (long r = 0; kept && r < rows; r++)
                for (long i = 0; kept[row + r] == 0 && i < s.states; i++)
                    std::copy_n(state(i, t) + r * hidden, hidden, state(i, t + 1) + r * hidden);
        }
    });
}

// The program takes the states before and after a step, what was saved and the gradients of the states after it; it
// gives those of a, of u unless they are the same, and of the states before. dh may be null: no gradient but that of
// the last states, in `dstates`, where that of the first ones is left. du may be null: it is da.
template <class T> void recurrence_gradient(const Recurrence &s, const T *w_hh, const T *kept,
                                            const Program<T> &program, const T *states, const T *saved, const T *dh,
                                            T *dstates, T *da, T *du) {
    const long hidden = s.hidden, width = s.gates * hidden, size = s.batch * hidden;
    Panels<T> panels;
    panels.pack({w_hh, width, hidden, 1, width});
    for_batch_parts(s, [&](long begin, long end) {
        Interpreter<T> interpreter(program);
        const long rows = end - begin, n = rows * hidden;
        std::vector<T> before(s.states * n); // gradients of the states before a step
        for (long t = s.steps - 1; t >= 0; t--) {
            const long row = t * s.batch + begin;
            const auto dstate = [&](long i) { return dstates + i * size + begin * hidden; };
            for (long j = 0; dh && j < n; j++) dstate(0)[j] += dh[row * hidden + j];
            std::vector<Rows<const T>> arguments;
            std::vector<Rows<T>> results;
            for (const long at : {t, t + 1})
                for (long i = 0; i < s.states; i++)
                    arguments.push_back({states + (i * (s.steps + 1) + at) * size + begin * hidden, hidden});
            add_parts(arguments, saved + row * s.saved * hidden, s.saved, hidden);
            add_parts(results, da + row * width, s.gates, hidden);
            if (du) add_parts(results, du + row * width, s.gates, hidden);
            for (long i = 0; i < s.states; i++) {
                arguments.push_back({dstate(i), hidden});
                results.push_back({&before[i * n], hidden});
            }
            interpreter.run(rows, hidden, arguments, results);
            T *du_rows = (du ? du : da) + row * width;
            for (long r = 0; kept && r < rows; r++) {
                if (kept[row + r] != 0) continue; // padding hands the gradient on
                std::fill_n(da + (row + r) * width, width, T(0));
                std::fill_n(du_rows + r * width, width, T(0));
                for (long i = 0; i < s.states; i++)
                    std::copy_n(dstate(i) + r * hidden, hidden, &before[i * n + r * hidden]);
            }
            panels.multiply({du_rows, width}, rows, hidden, {before.data(), hidden}, nullptr, true);
            for (long i = 0; i < s.states; i++) std::copy_n(&before[i * n], n, dstate(i));
        }
    });
}
