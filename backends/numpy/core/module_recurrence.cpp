// Recurrent layers.
#include "program.hpp"

namespace {

using Arrays = std::initializer_list<const Array *>;

bool has_shape(const Array &x, std::initializer_list<long> shape) {
    int axis = 0;
    return x.ndim() == static_cast<int>(shape.size()) &&
           std::all_of(shape.begin(), shape.end(), [&](long length) { return x.length(axis++) == length; });
}

// The lengths of what both functions take: w_hh (hidden, gates hidden), kept (steps, batch) or None,
// states (states, steps + 1, batch, hidden), and saved (steps, batch, saved hidden).
Recurrence sizes(const Array &w_hh, const Array *kept, const Array &states, const Array &saved) {
    if (w_hh.ndim() != 2 || states.ndim() != 4 || saved.ndim() != 3 || states.size() == 0 || w_hh.size() == 0)
        refuse("w_hh must have 2 axes, states 4 and saved 3, and not be empty");
    const long steps = states.length(1) - 1, batch = states.length(2), hidden = w_hh.length(0);
    const Recurrence s{steps, batch, 0, hidden, w_hh.length(1) / hidden, states.length(0), saved.length(2) / hidden};
    if (!has_shape(w_hh, {hidden, s.gates * hidden}) || !has_shape(states, {s.states, steps + 1, batch, hidden}) ||
        !has_shape(saved, {steps, batch, s.saved * hidden}) || (kept && kept->size() != steps * batch))
        refuse("w_hh, kept, states and saved do not fit");
    return s;
}

// recurrence(x, w_ih, w_hh, b_ih, b_hh, kept or None, program, states, saved) writes saved, and all states but the
// first; x is (steps, batch, inputs).
PyObject *recurrence(PyObject *const *arguments, Py_ssize_t count) {
    check_argument_count(count, 9);
    Array x(arguments[0], "x"), w_ih(arguments[1], "w_ih"), w_hh(arguments[2], "w_hh");
    Array b_ih(arguments[3], "b_ih"), b_hh(arguments[4], "b_hh");
    OptionalArray kept(arguments[5], "kept");
    Array states(arguments[7], "states", true), saved(arguments[8], "saved", true);
    for (const Array *result : Arrays{&states, &saved}) {
        check_operands(*result, {&x, &w_ih, &w_hh, &b_ih, &b_hh});
        if (kept.get()) check_operands(*result, {kept.get()});
    }
    check_operands(states, {&saved});
    Recurrence s = sizes(w_hh, kept.get(), states, saved);
    s.inputs = w_ih.ndim() == 2 ? w_ih.length(0) : 0;
    const long width = s.gates * s.hidden, n_arguments = 2 * s.gates + s.states;
    if (!has_shape(x, {s.steps, s.batch, s.inputs}) || !has_shape(w_ih, {s.inputs, width}) ||
        !has_shape(b_ih, {width}) || !has_shape(b_hh, {width}))
        refuse("x, w_ih, b_ih and b_hh do not fit");
    const ParsedProgram program(arguments[6], n_arguments);
    program.check_results(s.states + s.saved);
    return call(states, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        const std::vector<const T *> none(n_arguments);
        kernels.recurrence(s, x, w_ih, w_hh, b_ih, b_hh, kept, program.on<T>(none, nullptr), states, saved);
    });
}

// recurrence_gradient(w_hh, kept or None, program, states, saved, dh or None, dstates, da, du or None) writes da and
// du, (steps, batch, gates hidden), and changes dstates (states, batch, hidden).
PyObject *recurrence_gradient(PyObject *const *arguments, Py_ssize_t count) {
    check_argument_count(count, 9);
    Array w_hh(arguments[0], "w_hh"), states(arguments[3], "states"), saved(arguments[4], "saved");
    Array dstates(arguments[6], "dstates", true), da(arguments[7], "da", true);
    OptionalArray kept(arguments[1], "kept"), dh(arguments[5], "dh"), du(arguments[8], "du", true);
    for (const Array *result : Arrays{&dstates, &da, du.get()}) {
        if (!result) continue;
        check_operands(*result, {&w_hh, &states, &saved});
        for (const Array *operand : Arrays{kept.get(), dh.get()})
            if (operand) check_operands(*result, {operand});
    }
    check_operands(dstates, {&da});
    if (du.get()) check_operands(*du.get(), {&dstates, &da});
    const Recurrence s = sizes(w_hh, kept.get(), states, saved);
    if (!has_shape(da, {s.steps, s.batch, s.gates * s.hidden}) || (du.get() && !da.same_shape(*du.get())) ||
        !has_shape(dstates, {s.states, s.batch, s.hidden}) ||
        (dh.get() && !has_shape(*dh.get(), {s.steps, s.batch, s.hidden})))
        refuse("dh, dstates, da and du do not fit");
    const long n_arguments = 3 * s.states + s.saved;
    const ParsedProgram program(arguments[2], n_arguments);
    program.check_results((du.get() ? 2 : 1) * s.gates + s.states);
    return call(da, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        const std::vector<const T *> none(n_arguments);
        kernels.recurrence_gradient(s, w_hh, kept, program.on<T>(none, nullptr), states, saved, dh, dstates, da, du);
    });
}

} // namespace

PyMethodDef recurrence_functions[] = {
    FUNCTION(recurrence),
    FUNCTION(recurrence_gradient),
    END_OF_FUNCTIONS,
};
