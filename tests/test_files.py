"""Files are whole or as they were before, and hostile ones give one clear error."""

import errno
import fcntl
import io
import json
import multiprocessing
import os
import pickle
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.files import (
    as_file_errors,
    parse_json,
    read_json,
    read_regular,
    read_tensors,
    write_atomically,
    write_tensors,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


def saved(path: Path) -> Path:
    pn.Sequential(pn.Linear(4, 3), pn.BatchNorm(3), pn.Dropout(0.5)).initialize().save(path)
    return path


def reads(path: Path, fault: str) -> None:
    with pytest.raises(pn.FileFormatError, match=fault) as raised:
        pn.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


HOSTILE: dict[str, tuple[Any, str]] = {
    "null as a layer": ({"type": "portanet.Sequential", "layers": [None]}, "layer 0 must be a layer, got None"),
    "a string as a number": ({"type": "portanet.Dropout", "p": "x"}, "p must be a number"),
    "a number as an object": (
        {"type": "portanet.Linear", "in_features": 4, "out_features": 3, "init": 3},
        "init must be an Initializer",
    ),
    "a huge number": ({"type": "portanet.Linear", "in_features": 10**400, "out_features": 3}, "in_features must be"),
    "a huge layer": ({"type": "portanet.Linear", "in_features": 10**9, "out_features": 10**9}, "bias"),
    "a base class": (
        {"type": "portanet.ConvTranspose", "in_channels": 1, "out_channels": 1, "kernel_size": 3},
        "AttributeError|unknown",
    ),
    "a base class of initializers": (
        {"type": "portanet.Linear", "in_features": 4, "out_features": 3, "init": {"type": "portanet.Initializer"}},
        "differ",
    ),
    "a loss": ({"type": "portanet.MSELoss", "reduction": "mean"}, "is no layer"),
    "a truth value in words": (
        {"type": "portanet.Linear", "in_features": 4, "out_features": 3, "bias": "no"},
        "bias must be True or False",
    ),
    "a missing type": ({"in_features": 4}, "type 'None' is unknown"),
    "a forward reference": ({"type": "portanet.Sequential", "layers": [{"ref": 0}]}, "does not come before"),
    "a reference that is true": (
        {"type": "portanet.Sequential", "layers": [{"type": "portanet.ReLU"}, {"ref": False}]},
        "does not come before",
    ),
    "a list": ([1, 2], "is no layer"),
    "a text": ("Linear", "is no layer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_architecture_is_refused(path: Path, name: str) -> None:
    architecture, fault = HOSTILE[name]
    arrays, metadata = read_tensors(saved(path))
    write_tensors(path, arrays, {**metadata, "architecture": json.dumps(architecture)})
    reads(path, fault)


@pytest.mark.parametrize("depth", [300, 10_000])
@pytest.mark.parametrize("shape", ["brackets", "layers"])
def test_a_deeply_nested_architecture_is_refused(path: Path, shape: str, depth: int) -> None:
    opening, closing = ("[", "]") if shape == "brackets" else ('{"type": "portanet.Sequential", "layers": [', "]}")
    arrays, metadata = read_tensors(saved(path))
    write_tensors(path, arrays, {**metadata, "architecture": opening * depth + closing * depth})
    reads(path, "nested too deeply|is no layer|differ")


def test_layers_that_occur_again_and_again_do_not_hang(path: Path) -> None:
    net: dict[str, Any] = {"type": "portanet.Linear", "in_features": 1, "out_features": 1}
    for level in range(60):
        net = {"type": "portanet.Sequential", "layers": [net, {"ref": level}]}
    arrays, metadata = read_tensors(saved(path))
    write_tensors(path, arrays, {**metadata, "architecture": json.dumps(net)})
    reads(path, "more than 100000 uses of layers")


def test_a_layer_may_occur_many_times(path: Path) -> None:
    block = pn.Sequential(pn.Linear(2, 2), pn.TanH())
    net = pn.Sequential(*[block] * 1000).initialize()
    net.save(path)
    assert len(pn.load(path)) == 1000  # type: ignore[arg-type]


def test_a_network_of_another_size_than_its_weights_is_not_drawn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = {"type": "portanet.Linear", "in_features": 10**6, "out_features": 10**6}
    write_tensors(
        path,
        {"weight": np.zeros((2, 2), "float32"), "bias": np.zeros(2, "float32")},
        {**read_tensors(saved(path))[1], "architecture": json.dumps(architecture)},
    )
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("weights were drawn"))
    reads(path, "(weight|bias) has shape .*, but the architecture gives .*1000000")


def test_loading_draws_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pn.Linear(4, 3).initialize().save(path)
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("weights were drawn"))
    assert pn.load(path).n_parameters == 15


@pytest.mark.parametrize("key", ["shared", "frozen"])
@pytest.mark.parametrize("text", ["3", "[[1]]", '{"a": {}}', '{"0.weight": "nowhere"}', "[null]", "{", '"x"'])
def test_hostile_lists_of_names_are_refused(path: Path, key: str, text: str) -> None:
    arrays, metadata = read_tensors(saved(path))
    write_tensors(path, arrays, {**metadata, key: text})
    reads(path, "cannot be loaded")


def test_arrays_of_another_dtype_are_refused(path: Path) -> None:
    arrays, metadata = read_tensors(saved(path))
    for dtype in ("float64", "float16", "int64"):
        write_tensors(path, {**arrays, "0.weight": arrays["0.weight"].astype(dtype)}, metadata)
        reads(path, f"0.weight has dtype {dtype}, but the architecture gives float32")
    write_tensors(path, {**arrays, "2.stream": arrays["2.stream"].astype("int32")}, metadata)
    reads(path, "2.stream has dtype int32, but the architecture gives int64")


def test_every_changed_byte_is_noticed(path: Path) -> None:
    content = saved(path).read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(content), 300, replace=False):
        changed = bytearray(content)
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        reads(path, "cannot be loaded")


def test_a_changed_weight_says_so(path: Path) -> None:
    content = bytearray(saved(path).read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    reads(path, "it was changed or damaged after it was written")


def test_declared_sizes_beyond_the_file_are_refused_before_any_array_is_made(path: Path) -> None:
    huge = {"weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    header = json.dumps(huge).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    reads(path, "it is no safetensors file, or not complete")
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    reads(path, "it is no safetensors file, or not complete")


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        pn.load(tmp_path)
    reads(Path("/dev/zero"), "it is no regular file")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    reads(tmp_path / "pipe", "it is no regular file")


def test_a_file_longer_than_expected_is_not_read_to_its_end(path: Path) -> None:
    path.write_bytes(bytes(100))
    assert len(read_regular(path, max_bytes=100)) == 100
    with pytest.raises(pn.FileFormatError, match="more than the expected 99 bytes"):
        read_regular(path, max_bytes=99)


def test_a_file_that_does_not_fit_into_memory_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class TooLarge(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise MemoryError

    path.write_bytes(bytes(100))
    monkeypatch.setattr("portanet.files.open", lambda path, mode, opener: TooLarge(path), raising=False)
    reads(path, "it has 100 bytes, which do not fit into memory")


def test_a_json_file_without_end_is_not_read_to_its_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**42)  # a sparse file takes no room on the disk
    with pytest.raises(pn.FileFormatError, match="more than the expected"):
        read_json(path)


def test_a_message_repeats_no_more_than_a_line_of_a_file(path: Path) -> None:
    for text in ("\x1b[2J\n" * 1000, "\ud800"):
        with pytest.raises(pn.FileFormatError) as raised, as_file_errors(path):
            raise ValueError(text)
        assert len(raised.value.fault) < 500
        assert raised.value.fault.isprintable()


def test_names_that_occur_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="the name 'a' occurs twice"):
        parse_json('{"b": {"a": 1, "c": 2, "a": 3}}')


def test_the_error_can_be_pickled() -> None:
    error = pn.FileFormatError("net", "it is empty")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.fault) == (str(error), "it is empty")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_passes_on_its_permissions(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_that_the_umask_leaves(path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(path, b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_name_of_the_longest_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_failed_write_names_the_file_and_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=f"{os.strerror(fault)}: '{path}'") as raised:
        write_atomically(path, b"new")
    assert raised.value.errno == fault
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def _die_while_writing(path: Path) -> None:
    os.fsync = lambda _: os._exit(9)  # type: ignore[assignment]
    write_atomically(path, b"half")


@pytest.fixture
def leftover(path: Path) -> Path:
    """Return the temporary file of a process that was killed while it replaced ``path``."""
    write_atomically(path, b"old")
    process = multiprocessing.get_context("spawn").Process(target=_die_while_writing, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 9
    (partial,) = (file for file in path.parent.iterdir() if file != path)
    return partial


def test_what_a_killed_process_left_is_deleted_by_the_next_write(path: Path, leftover: Path) -> None:
    assert path.read_bytes() == b"old"
    path.with_name(".another.partial").touch()  # this one is not ours
    write_atomically(path.with_name("another"), b"new")
    assert sorted(file.name for file in path.parent.iterdir()) == [".another.partial", "another", path.name]


def test_a_file_that_another_process_is_writing_is_not_deleted(path: Path, leftover: Path) -> None:
    with leftover.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the process that writes it does
        write_atomically(path, b"new")
        assert leftover.exists()
    write_atomically(path, b"newer")
    assert not leftover.exists()


def _write_often(path: Path, content: bytes) -> None:
    for _ in range(50):
        write_atomically(path, content)


def test_two_processes_that_write_one_path_leave_one_whole_file(path: Path) -> None:
    contents = [bytes([i]) * 100_000 for i in (1, 2)]
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_often, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert path.read_bytes() in contents
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "shared", [{"1.forward": "0.weight"}, {"0.bias": "0.weight"}, {"1.running_var": "1.weight"}], ids=str
)
def test_a_name_is_shared_only_by_arrays_of_one_kind_and_shape(path: Path, shared: dict[str, str]) -> None:
    arrays, metadata = read_tensors(saved(path))
    write_tensors(path, arrays, {**metadata, "shared": json.dumps(shared)})
    reads(path, "cannot be the same array as")


def test_a_file_system_without_locks_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
