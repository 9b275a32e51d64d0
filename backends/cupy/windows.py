"""What kernels that slide a window share: its numbers as macros, for up to three axes of space."""

from portanet.kernels.windows import Window
from portanet.typing import Array

AXES = 3

INDICES = """
// Cell k of the window at place p lies at this place of space; outside is padding.
#define CELL0(p, k) ((p) * STRIDE0 + (k) * DILATION0 - LOW0)
#define CELL1(p, k) ((p) * STRIDE1 + (k) * DILATION1 - LOW1)
#define CELL2(p, k) ((p) * STRIDE2 + (k) * DILATION2 - LOW2)
#define INSIDE(s0, s1, s2) (s0 >= 0 && s0 < SPACE0 && s1 >= 0 && s1 < SPACE1 && s2 >= 0 && s2 < SPACE2)

// The window whose cell k lies at s; there is none where the remainder is not 0.
#define PLACE0(s, k) ((s) + LOW0 - (k) * DILATION0)
#define PLACE1(s, k) ((s) + LOW1 - (k) * DILATION1)
#define PLACE2(s, k) ((s) + LOW2 - (k) * DILATION2)
#define IS_PLACE(t, stride, places) (t >= 0 && t % stride == 0 && t / stride < places)
#define ARE_PLACES(t0, t1, t2) \\
  (IS_PLACE(t0, STRIDE0, PLACES0) && IS_PLACE(t1, STRIDE1, PLACES1) && IS_PLACE(t2, STRIDE2, PLACES2))

// Element of x, (N, *space, C), and of y, (N, *places, C).
#define X(n, s0, s1, s2, c) (((((n) * SPACE0 + (s0)) * SPACE1 + (s1)) * SPACE2 + (s2)) * CHANNELS + (c))
#define Y(n, p0, p1, p2, c) (((((n) * PLACES0 + (p0)) * PLACES1 + (p1)) * PLACES2 + (p2)) * CHANNELS + (c))

// The indices that an element has along the axes (N, a, b, c, C).
#define UNRAVEL(i, n, i0, i1, i2, c, a0, a1, a2) \\
  const int c = i % CHANNELS, i2 = i / CHANNELS % a2, i1 = i / CHANNELS / a2 % a1, i0 = i / CHANNELS / a2 / a1 % a0; \\
  const INDEX n = i / CHANNELS / a2 / a1 / a0

#define CELLS0 for (int k0 = 0; k0 < SIZE0; ++k0)
#define CELLS1 for (int k1 = 0; k1 < SIZE1; ++k1)
#define CELLS2 for (int k2 = 0; k2 < SIZE2; ++k2)
"""


def fits(window: Window, *arrays: Array) -> bool:
    """Whether the kernels are for these; the portable forms are for the rest."""
    kinds = {array.dtype.name for array in arrays}
    return window.n_axes <= AXES and len(kinds) == 1 and kinds <= {"float32", "float64"}


def macros(window: Window, channels: int) -> dict[str, int]:
    """
    Numbers of a window; axes that it lacks have one cell, and come first.

    Examples
    --------
    >>> window = Window.fit((9,), (2,), stride=(2,), dilation=(1,), padding="valid")
    >>> {name: value for name, value in macros(window, channels=4).items() if "SPACE" in name}
    {'SPACE0': 1, 'SPACE1': 1, 'SPACE2': 9}
    """
    lows = tuple(low for low, _ in window.pads)
    numbers = {
        "SPACE": (window.input_shape, 1),
        "PLACES": (window.output_shape, 1),
        "SIZE": (window.size, 1),
        "STRIDE": (window.stride, 1),
        "DILATION": (window.dilation, 1),
        "LOW": (lows, 0),
    }
    missing = AXES - window.n_axes
    return {"CHANNELS": channels} | {
        f"{name}{axis}": value
        for name, (values, neutral) in numbers.items()
        for axis, value in enumerate((*(neutral,) * missing, *values))
    }
