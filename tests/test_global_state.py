"""
What other libraries of the process see is as before: after an import, and after work that ends well or badly.

Only what a user asks for changes: the number of threads, the default device. docs/internals/kernels.md tells of the
options of malloc, which no test can read back.
"""

import ctypes
import faulthandler
import inspect
import locale
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.training.callbacks import Training
from tests.isolated import isolated

SMALLEST = np.asarray([2.0**-149], "float32")


def state() -> dict[str, Any]:
    """Settings of this process and of this thread."""
    from threadpoolctl import threadpool_info

    root = logging.getLogger()
    return {
        "threads of BLAS and OpenMP": sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info()),
        "errors of NumPy": (np.geterr(), np.geterrcall()),
        "print options of NumPy": str(np.get_printoptions()),
        "filters of warnings": (list(warnings.filters), warnings.showwarning),
        "random numbers of Python": random.getstate(),
        "random numbers of NumPy": str(np.random.get_state()),  # noqa: NPY002  of other libraries
        "handlers of signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "timers": signal.getitimer(signal.ITIMER_REAL) if hasattr(signal, "getitimer") else None,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook, sys.gettrace()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()),
        "locale": locale.setlocale(locale.LC_ALL),
        "numbers below the smallest normal one": (SMALLEST * np.float32(2.0))[0] > 0,
        "rounding": (np.float32(1.0) + SMALLEST)[0] == 1.0 and ctypes.CDLL(None).fegetround() == 0,
        "logging": (root.level, list(root.handlers), logging.root.manager.disable, logging.lastResort),
        "handlers of our logger": (logging.getLogger("portanet").handlers, logging.getLogger("portanet").level),
        "start of processes": multiprocessing.get_start_method(allow_none=True),
        "faulthandler": faulthandler.is_enabled(),
        "mask of signals": signal.pthread_sigmask(signal.SIG_BLOCK, []) if hasattr(signal, "pthread_sigmask") else None,
        "mode of new files": _umask(),
    }


def _umask() -> int:
    mode = os.umask(0o077)
    os.umask(mode)
    return mode


def assert_as_before(before: dict[str, Any]) -> None:
    after = state()
    for name, value in before.items():
        assert after[name] == value, name


def test_an_import_changes_nothing() -> None:
    """The functions above run in a process that has not imported portanet: their source is taken, not their module."""
    source = "\n".join(inspect.getsource(function) for function in (_umask, state, assert_as_before))
    code = f"""
import ctypes, faulthandler, locale, logging, multiprocessing, os, random, signal, sys, threading, warnings
from typing import Any
import numpy as np
import array_api_compat.numpy, safetensors.numpy
SMALLEST = np.asarray([2.0**-149], "float32")
{source}
before, n_threads = state(), threading.active_count()
import portanet, portanet.training, portanet.course, portanet.backends
assert_as_before(before)
assert threading.active_count() == n_threads
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(96, 6)).astype("float32"), RNG.integers(3, size=96)


def make(**settings: Any) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(6, 16), pn.BatchNorm(16), pn.ReLU(), pn.Dropout(0.3), pn.Linear(16, 3))
    return pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), metrics="accuracy", **settings)


class Raises(pn.Callback):
    """Raises an error at one moment, or sends a signal."""

    def __init__(self, hook: str, error: BaseException | signal.Signals):
        self.hook, self.error = hook, error

    def _act(self, hook: str) -> None:
        if hook == self.hook:
            if isinstance(self.error, signal.Signals):
                signal.raise_signal(self.error)
            else:
                raise self.error

    def on_train_begin(self, trainer: Training) -> None:
        self._act("on_train_begin")

    def on_train_batch_end(self, trainer: Training) -> None:
        self._act("on_train_batch_end")

    def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
        self._act("on_epoch_end")

    def on_train_end(self, trainer: Training) -> None:
        self._act("on_train_end")


def fit(**settings: Any) -> None:
    make().fit(X, Y, epochs=2, progress=False, **settings)


def everything(folder: Path) -> None:
    """Use each part of the library once."""
    trainer = make(seed=3)
    callbacks = [
        pn.LearningRateScheduler(pn.schedules.CosineDecay(0.02, 40)),
        pn.EarlyStopping("val_loss", restore_best_weights=True),
        pn.CSVLogger(folder / "log.csv"),
        pn.ModelCheckpoint(folder / "run.safetensors"),
    ]
    trainer.fit(X, Y, epochs=2, validation_split=0.25, callbacks=callbacks, progress=True)
    trainer.evaluate(X, Y)
    trainer.predict(X)
    trainer.save(folder / "run.safetensors")
    trainer.load(folder / "run.safetensors")
    pn.load(folder / "run.safetensors").predict(X)
    pn.KMeans(3, random_state=None).fit(X).transform(X)
    pn.PCA(2).fit(X).transform(X)
    pn.datasets.load("digits")
    pn.Conv2D(1, 8, 3).initialize().predict(RNG.normal(size=(16, 9, 9, 1)))


def fails(error: type[BaseException], function: Callable[[], Any]) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(error):
            function()

    return check


HOOKS = ("on_train_begin", "on_train_batch_end", "on_epoch_end", "on_train_end")
WORK: dict[str, Callable[..., Any]] = {
    "everything": everything,
    **{f"an error in {hook}": fails(OSError, partial(fit, callbacks=Raises(hook, OSError()))) for hook in HOOKS},
    **{f"Ctrl-C in {hook}": fails(KeyboardInterrupt, partial(fit, callbacks=Raises(hook, SIGINT))) for hook in HOOKS},
    "divergence": fails(
        pn.Diverged,
        lambda: pn.Trainer(pn.Linear(6, 1), pn.MSELoss(), pn.SGD(1e30)).fit(X, X[:, :1], epochs=9, progress=False),
    ),
    "an input of a wrong shape": fails(ValueError, lambda: make().predict(X[:, :2])),
    "targets of a wrong shape": fails(ValueError, lambda: make().evaluate(X, Y[:3])),
    "a file that is no network": fails(pn.FileFormatError, lambda: pn.load(__file__)),
    "a file that is missing": fails(OSError, lambda: pn.load("missing")),
    "fewer examples than clusters": fails(ValueError, lambda: pn.KMeans(3).fit(X[:2])),
    "a device that is missing": fails(pn.BackendUnavailable, lambda: pn.set_device("cpu:3")),
    "a thread that trains": lambda: _in_thread(fit),
}


def _in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def do_all_work(errors: Any, folder: Path) -> None:
    everything(folder)  # all libraries are loaded, and with them their threads
    for name, work in WORK.items():
        with np.errstate(all=errors):
            before = state()
            try:
                work(folder) if name == "everything" else work()
                assert_as_before(before)
            except Exception as error:
                raise AssertionError(name) from error


@pytest.mark.parametrize("errors", ["warn", "raise"])
@isolated()
def test_work_that_ends_well_or_badly_changes_nothing(errors: str, tmp_path: str) -> None:
    do_all_work(errors, Path(tmp_path))


@isolated(PORTANET_CORE="0")
def test_work_without_the_compiled_kernels_changes_nothing(tmp_path: str) -> None:
    do_all_work("warn", Path(tmp_path))


class Alarm(Exception):
    """What a handler of a timer raises, at any moment."""


@isolated()
def test_a_signal_at_any_moment_leaves_the_settings_as_they_were() -> None:
    """
    The handler of a timer raises wherever it finds training and k-means.

    NumPy's error settings are left out: Python may call a handler between the body of a ``with`` and its ``__exit__``,
    and then they stay silent, as after ``with np.errstate(...)``; of 5,000 signals, 10 to 30 did so.
    """
    kmeans, alarms = pn.KMeans(8, max_iter=3), 0

    def ring(number: int, frame: object) -> None:
        raise Alarm

    fit()
    kmeans.fit(X)
    signal.signal(signal.SIGALRM, ring)
    before = {name: value for name, value in state().items() if name != "errors of NumPy"}
    for i in range(150):
        with np.errstate():
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.00003 * i)
                while True:
                    fit()
                    kmeans.fit(X)
            except Alarm:
                alarms += 1
        assert_as_before(before)
    assert alarms == 150
