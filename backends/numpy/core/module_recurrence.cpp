// Recurrent layers.
#include "program.hpp"

namespace {

// The arrays of both functions: a (steps, batch, gates hidden), w (hidden, gates hidden), kept (steps, batch) or None,
// states (states, steps + 1, batch, hidden), u as a or with one step, and saved (steps, batch, saved hidden).
Recurrence sizes(const Array &a, const Array &w, const Array *kept, const Array &states, const Array &u,
                 const Array &saved) {
    if (a.ndim() != 3 || w.ndim() != 2 || states.ndim() != 4 || u.ndim() != 3 || saved.ndim() != 3)
        refuse("a, u and saved must have 3 axes, w 2, and states 4");
    const long steps = a.length(0), batch = a.length(1), hidden = w.length(0);
    if (steps < 1 || batch < 1 || hidden < 1) refuse("arrays must not be empty");
    const Recurrence s{
        steps, batch, hidden, w.length(1) / hidden, states.length(0), saved.length(2) / hidden, u.length(0) == steps};
    const auto has = [](const Array &x, std::initializer_list<long> shape) {
        int axis = 0;
        return std::all_of(shape.begin(), shape.end(), [&](long length) { return x.length(axis++) == length; });
    };
    const long width = s.gates * hidden;
    if (!has(a, {steps, batch, width}) || !has(w, {hidden, width}) ||
        !has(states, {s.states, steps + 1, batch, hidden}) || !has(u, {s.keeps_u ? steps : 1, batch, width}) ||
        !has(saved, {steps, batch, s.saved * hidden}) || (kept && kept->size() != steps * batch))
        refuse("a, w, kept, states, u and saved do not fit");
    return s;
}

// recurrence(a, w, b, kept or None, program, states, u, saved) writes u, saved, and all states but the first.
PyObject *recurrence(PyObject *const *arguments, Py_ssize_t count) {
    check_argument_count(count, 8);
    Array a(arguments[0], "a"), w(arguments[1], "w"), b(arguments[2], "b");
    OptionalArray kept(arguments[3], "kept");
    Array states(arguments[5], "states", true), u(arguments[6], "u", true), saved(arguments[7], "saved", true);
    for (const Array *result : std::initializer_list<const Array *>{&states, &u, &saved}) {
        check_operands(*result, {&a, &w, &b});
        if (kept.get()) check_operands(*result, {kept.get()});
    }
    check_operands(states, {&u, &saved});
    check_operands(u, {&saved});
    const Recurrence s = sizes(a, w, kept.get(), states, u, saved);
    if (b.size() != s.gates * s.hidden) refuse("b must have the columns of w");
    const ParsedProgram program(arguments[4], 2 * s.gates + s.states);
    program.check_results(s.states + s.saved);
    return call(states, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        const std::vector<const T *> none(2 * s.gates + s.states);
        kernels.recurrence(s, a, w, b, kept, program.on<T>(none, nullptr), states, u, saved);
    });
}

// recurrence_gradient(a, w, kept or None, program, states, u, saved, dh or None, dstates, da, du or None) writes da and
// du, and changes dstates (states, batch, hidden).
PyObject *recurrence_gradient(PyObject *const *arguments, Py_ssize_t count) {
    check_argument_count(count, 11);
    Array a(arguments[0], "a"), w(arguments[1], "w"), states(arguments[4], "states"), u(arguments[5], "u");
    Array saved(arguments[6], "saved"), dstates(arguments[8], "dstates", true), da(arguments[9], "da", true);
    OptionalArray kept(arguments[2], "kept"), dh(arguments[7], "dh"), du(arguments[10], "du", true);
    for (const Array *result : std::initializer_list<const Array *>{&dstates, &da, du.get()}) {
        if (!result) continue;
        check_operands(*result, {&a, &w, &states, &u, &saved});
        for (const Array *operand : std::initializer_list<const Array *>{kept.get(), dh.get()})
            if (operand) check_operands(*result, {operand});
    }
    check_operands(dstates, {&da});
    if (du.get()) check_operands(*du.get(), {&dstates, &da});
    const Recurrence s = sizes(a, w, kept.get(), states, u, saved);
    if (!da.same_shape(a) || (du.get() && !du.get()->same_shape(a)) || dstates.ndim() != 3 ||
        dstates.size() != s.states * s.batch * s.hidden ||
        (dh.get() && dh.get()->size() != s.steps * s.batch * s.hidden))
        refuse("dh, dstates, da and du do not fit");
    const long n_arguments = 2 * s.gates + 2 * s.states + s.saved;
    const ParsedProgram program(arguments[3], n_arguments);
    program.check_results((du.get() ? 2 : 1) * s.gates + s.states);
    return call(da, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        const std::vector<const T *> none(n_arguments);
        kernels.recurrence_gradient(s, a, w, kept, program.on<T>(none, nullptr), states, u, saved, dh, dstates, da, du);
    });
}

} // namespace

PyMethodDef recurrence_functions[] = {
    FUNCTION(recurrence),
    FUNCTION(recurrence_gradient),
    END_OF_FUNCTIONS,
};
