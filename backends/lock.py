"""The lock that threads hold while they make what is made at its first use: backends, and the weights of networks."""

import os
import threading

lock = threading.RLock()
"""Held while a backend is loaded, and while a network finds its layers or draws its weights; not in every call."""

if hasattr(os, "register_at_fork"):  # a child has no thread that would release it: a fork waits until it is free
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
