// Attention.
#include "boundary.hpp"

namespace {

// An array (examples, heads, length, features) of any steps, but with the features side by side.
class StridedHeads {
  public:
    StridedHeads(PyObject *object, const char *name, bool written = false) {
        if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT | (written ? PyBUF_WRITABLE : 0)))
            throw PythonError();
        const char kind = view.format && !view.format[1] ? view.format[0] : '?';
        if ((kind != 'f' && kind != 'd') || view.ndim != 4 ||
            reinterpret_cast<std::uintptr_t>(view.buf) % view.itemsize || view.len == 0 ||
            std::any_of(view.strides, view.strides + 3,
                        [&](Py_ssize_t step) { return step < 0 || step % view.itemsize; }) ||
            (view.strides[3] != view.itemsize && view.shape[3] > 1)) {
            PyBuffer_Release(&view);
            refuse(std::string(name) + " must be an aligned array (examples, heads, length, features)");
        }
    }
    ~StridedHeads() { PyBuffer_Release(&view); }
    StridedHeads(const StridedHeads &) = delete;

    bool is_double() const { return view.format[0] == 'd'; }
    long length(int axis) const { return static_cast<long>(view.shape[axis]); }
    bool same_shape(const StridedHeads &other) const {
        return std::equal(view.shape, view.shape + 4, other.view.shape);
    }
    template <class T> operator Heads<T>() const {
        const auto step = [&](int axis) { return static_cast<long>(view.strides[axis] / view.itemsize); };
        return {static_cast<T *>(view.buf), step(0), step(1), step(2)};
    }
    // Whether numbers of an array lie between the first and the last one.
    bool meets(const Array *other) const { return other && other->meets(begin(), end()); }
    bool meets(const StridedHeads *other) const { return begin() < other->end() && other->begin() < end(); }

  private:
    Py_buffer view;

    const char *begin() const { return static_cast<const char *>(view.buf); }
    const char *end() const {
        const char *last = begin() + view.itemsize;
        for (int axis = 0; axis < 4; axis++) last += (view.shape[axis] - 1) * view.strides[axis];
        return last;
    }
};

// Refuse arrays of another dtype than the result, and those that overlap it.
template <class Operand> void check_operand(const StridedHeads &result, const Operand *operand) {
    if (operand && operand->is_double() != result.is_double()) refuse("arrays must have one dtype");
    if (operand && result.meets(operand)) refuse("the result must not overlap an operand");
}

Attention sizes(const StridedHeads &q, const StridedHeads &k, const StridedHeads &v, const Array *kept,
                const Array &log_sums, bool is_causal) {
    const Attention s{q.length(0),
                      q.length(1),
                      q.length(2),
                      k.length(2),
                      q.length(3),
                      is_causal,
                      1 / std::sqrt(static_cast<double>(q.length(3)))};
    if (!k.same_shape(v) || k.length(0) != s.examples || k.length(1) != s.heads || k.length(3) != s.features ||
        (kept && kept->size() != s.examples * s.keys) || log_sums.size() != s.examples * s.heads * s.queries)
        refuse("q, k, v, kept and log_sums do not fit");
    return s;
}

// attention(q, k, v, kept or None, is_causal, y, log_sums) writes y and log_sums, which the gradient needs; kept is
// (examples, keys), 0 for padding.
PyObject *attention(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 7);
    StridedHeads q(a[0], "q"), k(a[1], "k"), v(a[2], "v"), y(a[5], "y", true);
    OptionalArray kept(a[3], "kept");
    Array log_sums(a[6], "log_sums", true);
    for (const StridedHeads *operand : {&q, &k, &v}) {
        check_operand(y, operand);
        check_operand(*operand, &log_sums);
    }
    check_operand(y, &log_sums);
    check_operand(y, kept.get());
    if (kept.get()) check_operands(log_sums, {kept.get()});
    const Attention s = sizes(q, k, v, kept.get(), log_sums, integer(a[4]));
    if (!y.same_shape(q)) refuse("y must have the shape of q");
    return call(y, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        kernels.attention(s, q, k, v, static_cast<const T *>(kept), y, log_sums);
    });
}

// attention_gradient(q, k, v, kept or None, is_causal, log_sums, dy, dq, dk, dv) writes dq, and adds to dk and dv.
PyObject *attention_gradient(PyObject *const *a, Py_ssize_t count) {
    check_argument_count(count, 10);
    StridedHeads q(a[0], "q"), k(a[1], "k"), v(a[2], "v"), dy(a[6], "dy");
    StridedHeads dq(a[7], "dq", true), dk(a[8], "dk", true), dv(a[9], "dv", true);
    OptionalArray kept(a[3], "kept");
    Array log_sums(a[5], "log_sums");
    for (const StridedHeads *result : {&dq, &dk, &dv}) {
        for (const StridedHeads *operand : {&q, &k, &v, &dy}) check_operand(*result, operand);
        check_operand(*result, &log_sums);
        check_operand(*result, kept.get());
    }
    check_operand(dq, &dk);
    check_operand(dq, &dv);
    check_operand(dk, &dv);
    const Attention s = sizes(q, k, v, kept.get(), log_sums, integer(a[4]));
    if (!dq.same_shape(q) || !dy.same_shape(q) || !dk.same_shape(k) || !dv.same_shape(v))
        refuse("gradients must have the shapes of their arrays");
    return call(dq, [&](auto &kernels) {
        using T = typename std::decay_t<decltype(kernels)>::Number;
        kernels.attention_gradient(s, q, k, v, static_cast<const T *>(kept), log_sums, dy, dq, dk, dv);
    });
}

} // namespace

PyMethodDef attention_functions[] = {
    FUNCTION(attention),
    FUNCTION(attention_gradient),
    END_OF_FUNCTIONS,
};
