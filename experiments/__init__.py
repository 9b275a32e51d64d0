"""
Experiments that compare the figures of course reports with ours: ``python -m experiments list`` shows them.

A new experiment is a new file in this folder: a function that returns our figures, with a decorator that records what
the source reports. `digits` is the shortest example. `experiments.runner` runs the experiments.
"""
