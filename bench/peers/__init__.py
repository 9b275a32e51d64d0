"""
The same networks in other libraries: ``python -m bench peers``.

A competitor is a module of this package with two functions, ``step(recipe, device, **options)`` and
``inference(recipe, device, batch_size, **options)``. Each returns a function without arguments that runs the task once,
*waits until it is done*, and returns the loss or the outputs. It raises :class:`Unsupported` if the library cannot
express the network. On a GPU, ``set_precision(precision)`` is called first, if there is one. `competitors` lists the
competitors, `child` is the process that runs one of them, and `race` times them in turn.
"""


class Unsupported(Exception):
    """The competitor does not support the network or the device; the message says what is missing."""
