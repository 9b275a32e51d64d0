"""
The same networks in other libraries: ``python -m bench peers``.

A competitor is a file here with two functions, ``step(recipe, device, **options)`` and
``inference(recipe, device, batch_size, **options)``. Each returns a function without arguments that does it once,
*waits until it is done*, and returns the loss or the outputs; or it raises :class:`Unfit` where the library has no such
network. `competitors` lists them, `child` is the process that each runs in, `race` lets them run in turns.
"""


class Unfit(Exception):
    """A competitor has no such network, or no such device; the message says what it lacks."""
