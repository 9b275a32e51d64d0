"""Ranks on two hosts: two network namespaces of Linux, joined by a cable that counts the bytes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.scaling import find_program

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
MPIEXEC = find_program("mpiexec.hydra")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="mpiexec of MPICH is not installed")

SCRIPT = Path(__file__).parent / "train_script.py"
HOSTS = "10.77.0.1", "10.77.0.2"
SPACES = f"portanet-{os.getpid()}-a", f"portanet-{os.getpid()}-b"  # several processes may run these tests
CABLES = f"pn{os.getpid()}a", f"pn{os.getpid()}b"

LAUNCHER = f"""#!/bin/sh
# mpiexec takes this for ssh: options, a host, and a command.
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1; shift
if [ "$host" = {HOSTS[0]} ]; then space={SPACES[0]}; else space={SPACES[1]}; fi
exec ip netns exec $space sh -c "$*"
"""


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two hosts, and the program that starts processes on them."""
    if not sys.platform.startswith("linux") or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux, iproute2 and root")
    try:
        for space in SPACES:
            ip("netns", "add", space)
        ip("link", "add", CABLES[0], "type", "veth", "peer", "name", CABLES[1])
        for space, host, cable in zip(SPACES, HOSTS, CABLES, strict=True):
            ip("link", "set", cable, "netns", space)
            ip("-n", space, "addr", "add", f"{host}/24", "dev", cable)
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", cable, "up")
    except subprocess.CalledProcessError as error:
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
    path = tmp_path_factory.mktemp("launcher") / "launcher"
    path.write_text(LAUNCHER)
    path.chmod(0o755)
    yield path
    for space in SPACES:
        ip("netns", "del", space)


def n_bytes() -> int:
    """Bytes that have come through the cable to the first host."""
    return int(ip("netns", "exec", SPACES[0], "cat", f"/sys/class/net/{CABLES[0]}/statistics/rx_bytes"))


def run(launcher: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    # Without these two settings MPICH may find another way between the ranks, since they are on one machine.
    network = ("-genv", "UCX_TLS", "tcp,self", "-genv", "MPIR_CVAR_NOLOCAL", "1")
    start = ("-launcher", "ssh", "-launcher-exec", str(launcher), "-hosts", ",".join(HOSTS), "-ppn", "1", "-n", "2")
    command = [str(MPIEXEC), *start, *network, sys.executable, str(SCRIPT), str(folder), *map(str, arguments)]
    whole = ["ip", "netns", "exec", SPACES[0], *command]
    return subprocess.run(whole, capture_output=True, text=True, timeout=120, check=False)


def test_two_hosts_give_the_weights_of_one_process(launcher: Path, tmp_path: Path) -> None:
    alone = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    before = n_bytes()
    done = run(launcher, tmp_path)
    assert done.returncode == 0, done.stderr
    one, first, second = (np.load(tmp_path / f"{name}.npz") for name in ("1-0", "2-0", "2-1"))
    np.testing.assert_array_equal(first["weights"], second["weights"])
    scale = np.abs(one["weights"]).max()
    np.testing.assert_allclose(first["weights"], one["weights"], rtol=0, atol=1e-6 * scale)
    n_steps = 12 * 9
    assert n_bytes() - before > n_steps * first["weights"].nbytes  # the gradients took the cable


def test_a_rank_of_another_host_that_hangs_is_named(launcher: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run(launcher, tmp_path, "hang", 1, 20, 2.0)
    assert done.returncode != 0
    assert "rank 1 did not answer for 2 s" in done.stderr
    assert time.monotonic() - begin < 30


def test_an_error_on_another_host_ends_all_with_its_name(launcher: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run(launcher, tmp_path, "error", 1, 20)
    assert done.returncode != 0
    assert "portanet: rank 1 failed with OSError: the disk is full" in done.stderr
    assert time.monotonic() - begin < 30
