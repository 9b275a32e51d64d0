"""
Benchmarks of PortaNet: single layers, whole networks, and comparisons with other libraries.

- ``python -m pytest bench`` times layers, losses, optimizers, and the training step and inference of every network, on
  the devices of this machine (`test_layers`, `test_steps`, `test_inference`).
- ``python -m bench compare`` shows the results of several such runs side by side: CPU against GPU.
- ``python -m bench peers`` runs the same networks in PyTorch, scikit-learn and JAX, each in its own process.
- ``python -m bench mechanisms`` measures the speed-up of each speed mechanism of PortaNet.
- ``python -m bench report`` writes RESULTS.md from the files in ``bench/results``.

`bench.networks` defines the networks.
"""
