"""Index arithmetic of sliding windows in CUDA kernels, for up to three spatial axes; sizes are macros."""

from portanet.kernels.windows import Window
from portanet.typing import Array

MAX_AXES = 3

WINDOW_MACROS = """
// Input index of offset k in the window at output position p; outside of the input is padding.
#define INPUT_INDEX0(p, k) ((p) * STRIDE0 + (k) * DILATION0 - PADDING0)
#define INPUT_INDEX1(p, k) ((p) * STRIDE1 + (k) * DILATION1 - PADDING1)
#define INPUT_INDEX2(p, k) ((p) * STRIDE2 + (k) * DILATION2 - PADDING2)
#define IN_INPUT(s0, s1, s2) (s0 >= 0 && s0 < INPUT0 && s1 >= 0 && s1 < INPUT1 && s2 >= 0 && s2 < INPUT2)

// Output position, times the stride, of the window whose offset k is at input index s. It exists only if the stride
// divides this number, and the quotient is in the output.
#define STRIDED_INDEX0(s, k) ((s) + PADDING0 - (k) * DILATION0)
#define STRIDED_INDEX1(s, k) ((s) + PADDING1 - (k) * DILATION1)
#define STRIDED_INDEX2(s, k) ((s) + PADDING2 - (k) * DILATION2)
#define IN_OUTPUT_AXIS(t, stride, length) (t >= 0 && t % stride == 0 && t / stride < length)
#define IN_OUTPUT(t0, t1, t2) \\
  (IN_OUTPUT_AXIS(t0, STRIDE0, OUTPUT0) && IN_OUTPUT_AXIS(t1, STRIDE1, OUTPUT1) && IN_OUTPUT_AXIS(t2, STRIDE2, OUTPUT2))

// Flat index of an element of x, (N, *input_shape, C), and of y, (N, *output_shape, C).
#define X(n, s0, s1, s2, c) (((((n) * INPUT0 + (s0)) * INPUT1 + (s1)) * INPUT2 + (s2)) * CHANNELS + (c))
#define Y(n, p0, p1, p2, c) (((((n) * OUTPUT0 + (p0)) * OUTPUT1 + (p1)) * OUTPUT2 + (p2)) * CHANNELS + (c))

// Declare the indices n, i0, i1, i2, c of flat index i in an array of shape (N, a0, a1, a2, channels).
#define UNRAVEL(i, n, i0, i1, i2, c, a0, a1, a2, channels) \\
  const int c = i % channels, i2 = i / channels % a2, i1 = i / channels / a2 % a1, i0 = i / channels / a2 / a1 % a0; \\
  const INDEX n = i / channels / a2 / a1 / a0

#define FOR_OFFSETS0 for (int k0 = 0; k0 < SIZE0; ++k0)
#define FOR_OFFSETS1 for (int k1 = 0; k1 < SIZE1; ++k1)
#define FOR_OFFSETS2 for (int k2 = 0; k2 < SIZE2; ++k2)
"""


def is_supported(window: Window, *arrays: Array) -> bool:
    """Whether the kernels support the window and the arrays; otherwise the portable forms are used."""
    dtypes = {array.dtype.name for array in arrays}
    return window.n_axes <= MAX_AXES and len(dtypes) == 1 and dtypes <= {"float32", "float64"}


def macros(window: Window, channels: int) -> dict[str, int]:
    """
    Sizes of a window as macros. With fewer than three axes, axes of length 1 are put first.

    Examples
    --------
    >>> window = Window.fit((9,), (2,), stride=(2,), dilation=(1,), padding="valid")
    >>> {name: value for name, value in macros(window, channels=4).items() if "INPUT" in name}
    {'INPUT0': 1, 'INPUT1': 1, 'INPUT2': 9}
    """
    padding = tuple(low for low, _ in window.pads)
    sizes = {
        "INPUT": (window.input_shape, 1),
        "OUTPUT": (window.output_shape, 1),
        "SIZE": (window.size, 1),
        "STRIDE": (window.stride, 1),
        "DILATION": (window.dilation, 1),
        "PADDING": (padding, 0),
    }
    missing = MAX_AXES - window.n_axes
    return {"CHANNELS": channels} | {
        f"{name}{axis}": value
        for name, (values, neutral) in sizes.items()
        for axis, value in enumerate((*(neutral,) * missing, *values))
    }
