// Optimizer steps on flat arrays, in place: portanet/kernels/updates.py has the formulas.
//
// Each is one pass over the arrays; NumPy takes one for every operation, ten for adam, and temporary arrays. The
// compiler vectorizes these loops: INDEPENDENT_ITERATIONS tells it that the arrays do not overlap, which the module has
// checked. All of them let NaN and infinity through.

template <class T> void adam(long n, T *data, const T *grad, T *grad_sum, T *square_sum, const Adam &s) {
    const T beta1 = T(s.beta1), beta2 = T(s.beta2), rate = T(s.rate), eps = T(s.eps);
    for_ranges(n, 16, [=](long begin, long end) {
        INDEPENDENT_ITERATIONS
        for (long i = begin; i < end; i++) {
            grad_sum[i] = beta1 * grad_sum[i] + grad[i];
            square_sum[i] = beta2 * square_sum[i] + grad[i] * grad[i];
            data[i] -= rate * grad_sum[i] / (std::sqrt(square_sum[i]) + eps);
        }
    });
}

// `velocity` is null without momentum.
template <class T> void sgd(long n, T *data, const T *grad, T *velocity, const SGD &s) {
    const T rate = T(s.rate), momentum = T(s.momentum);
    const bool nesterov = s.nesterov;
    for_ranges(n, 6, [=](long begin, long end) {
        if (!velocity) {
            INDEPENDENT_ITERATIONS
            for (long i = begin; i < end; i++) data[i] -= rate * grad[i];
            return;
        }
        INDEPENDENT_ITERATIONS
        for (long i = begin; i < end; i++) {
            velocity[i] = momentum * velocity[i] + grad[i];
            data[i] -= rate * (nesterov ? grad[i] + momentum * velocity[i] : velocity[i]);
        }
    });
}

template <bool centered, bool with_momentum, class T>
void rmsprop_in_form(long n, T *data, const T *grad, T *square, T *mean, T *velocity, const RMSprop &s) {
    const T rate = T(s.rate), rest = T(1 - s.rho), momentum = T(s.momentum), eps = T(s.eps);
    for_ranges(n, 20, [=](long begin, long end) {
        INDEPENDENT_ITERATIONS
        for (long i = begin; i < end; i++) {
            T variance = square[i] += rest * (grad[i] * grad[i] - square[i]);
            if constexpr (centered) {
                mean[i] += rest * (grad[i] - mean[i]);
                variance -= mean[i] * mean[i];
                variance = variance < 0 ? T(0) : variance; // rounding may make it negative
            }
            T change = grad[i] / (std::sqrt(variance) + eps);
            if constexpr (with_momentum) change = velocity[i] = momentum * velocity[i] + change;
            data[i] -= rate * change;
        }
    });
}

// `mean` is null unless centered, `velocity` without momentum.
template <class T> void rmsprop(long n, T *data, const T *grad, T *square, T *mean, T *velocity, const RMSprop &s) {
    const auto form = mean ? (velocity ? rmsprop_in_form<true, true, T> : rmsprop_in_form<true, false, T>)
                           : (velocity ? rmsprop_in_form<false, true, T> : rmsprop_in_form<false, false, T>);
    form(n, data, grad, square, mean, velocity, s);
}

template <class T> void adagrad(long n, T *data, const T *grad, T *square, double lr, double epsilon) {
    const T rate = T(lr), eps = T(epsilon);
    for_ranges(n, 12, [=](long begin, long end) {
        INDEPENDENT_ITERATIONS
        for (long i = begin; i < end; i++) {
            square[i] += grad[i] * grad[i];
            data[i] -= rate * grad[i] / (std::sqrt(square[i]) + eps);
        }
    });
}

// out = x + factor y; out may be x or y.
template <class T> void add_scaled(long n, const T *x, const T *y, double scale, T *out) {
    const T factor = T(scale);
    for_ranges(n, 6, [=](long begin, long end) {
        INDEPENDENT_ITERATIONS
        for (long i = begin; i < end; i++) out[i] = x[i] + factor * y[i];
    });
}
