"""
How fast PortaNet is: its pieces by themselves, and whole networks beside other libraries.

- ``python -m pytest bench`` times layers, losses, optimizers, and training steps and inference of every network, on the
  devices that this machine has (`test_layers`, `test_steps`, `test_inference`).
- ``python -m bench compare`` sets the files of several such runs side by side: CPU against GPU.
- ``python -m bench peers`` runs the same networks in PyTorch, scikit-learn and JAX as well, each in its own process.
- ``python -m bench report`` writes RESULTS.md from the files in ``bench/results``.

The networks stand in `bench.networks`, each once.
"""
