"""The lock of what is made when it is first used, so that several threads may be the first."""

import os
import threading

lock = threading.RLock()
"""Held while a backend is loaded, and while a network finds its layers or draws its weights; not in every call."""

if hasattr(os, "register_at_fork"):  # a child process lacks the thread that holds it: forks wait until it is free
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
