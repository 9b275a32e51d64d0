"""
Each file of this folder puts the claims of a source to the test: ``python -m experiments list`` shows them.

To add one, add a file with a record of what the source says above a function that returns our figures; `digits` is the
shortest. Nothing else needs to know of it. What it is made with is in `experiments.runner`.
"""
