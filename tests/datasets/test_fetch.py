"""Search, verification and download of files, with tiny data sets and a local server."""

import gc
import gzip
import hashlib
import os
import struct
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portanet import FileFormatError, files
from portanet.datasets import DatasetError, fetch, load
from portanet.datasets.catalogue import FASHION_MNIST_LICENCE, SOURCES

pooch = pytest.importorskip("pooch", reason="pooch names the cache and downloads")
# pooch does not close the socket of a broken download.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def idx_set(x_train: Any, y_train: Any, x_test: Any, y_test: Any) -> tuple[tuple[Any, Any, Any, Any], list[bytes]]:
    """Return the arrays of the four files, and the files."""
    arrays = x_train, y_train, x_test, y_test
    return arrays, [struct.pack(f">{1 + a.ndim}I", 2048 + a.ndim, *a.shape) + a.tobytes() for a in arrays]


def usps_set(x_train: Any, y_train: Any, x_test: Any, y_test: Any) -> tuple[list[Any], list[bytes]]:
    """Return the arrays of the two files (in thousandths), and the files."""
    tables = [np.column_stack([y, x.reshape(len(x), -1)]) for x, y in ((x_train, y_train), (x_test, y_test))]
    texts = ["".join(" ".join(f"{value:.4f}" for value in row) + " \n" for row in table) for table in tables]
    return [np.rint(1000 * table).astype("<i2") for table in tables], [text.encode() for text in texts]


@dataclass
class Tiny:
    """Eight random images that replace a data set of the catalogue, in its format."""

    name: str
    x_train: np.ndarray
    contents: dict[str, bytes]  # decompressed files
    data: Path  # for PORTANET_DATA
    cache: Path

    def write(self, folder: Path, contents: dict[str, bytes] | None = None, suffix: str = ".gz") -> None:
        (folder / self.name).mkdir(parents=True)
        for name, content in (contents or self.contents).items():
            compressed = gzip.compress(content, mtime=0)
            (folder / self.name / f"{name}{suffix}").write_bytes(compressed if suffix else content)

    def loads(self) -> bool:
        return np.array_equal(load(self.name, raw=True).x_train, self.x_train)

    def cached(self) -> set[str]:
        return {path.name for path in self.cache.rglob("*")} - {self.name}


@pytest.fixture(params=["mnist", "fashion_mnist", "usps"])
def tiny(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    rng, source, usps = np.random.default_rng(0), SOURCES[request.param], request.param == "usps"
    y_train, y_test = (rng.integers(10, size=n, dtype=np.uint8) for n in (5, 3))
    x_train: np.ndarray
    x_test: np.ndarray
    if usps:
        x_train, x_test = ((rng.integers(-1000, 1001, size=(n, 16, 16)) / 1000).astype(np.float32) for n in (5, 3))
    else:
        x_train, x_test = (rng.integers(256, size=(n, 4, 3), dtype=np.uint8) for n in (5, 3))
    arrays, contents = (usps_set if usps else idx_set)(x_train, y_train, x_test, y_test)
    files = [
        replace(
            file,
            shape=array.shape,
            sha256=sha256(array.tobytes()),
            gz_sha256=None if usps else sha256(gzip.compress(content, mtime=0)),
        )
        for file, array, content in zip(source.files, arrays, contents, strict=True)
    ]
    monkeypatch.setitem(SOURCES, source.name, replace(source, files=tuple(files), url="ftp://unused.invalid/"))
    monkeypatch.delenv("PORTANET_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    named = {file.name.removesuffix(".gz"): content for file, content in zip(files, contents, strict=True)}
    return Tiny(source.name, x_train, named, tmp_path / "data", tmp_path / "cache" / "portanet")


Answer = Callable[[bytes], tuple[int, bytes, int | None]]


def complete(content: bytes) -> tuple[int, bytes, int]:
    return 200, content, len(content)


FAULTS: dict[str, Answer] = {
    "closes the connection half way": lambda content: (200, content[: len(content) // 2], len(content)),
    "closes it and sends no length": lambda content: (200, content[: len(content) // 2], None),
    "sends a web page": lambda _: complete(b"<html>Sign in to the network</html>"),
    "sends another file": lambda _: complete(gzip.compress(b"another file")),
    "answers 404": lambda _: (404, b"", 0),
    "sends far too much": lambda content: (200, content + bytes(10**6), None),
}


@dataclass
class Server:
    """Serves the gzip files; ``answers`` maps a file name to a function: content -> status, body, Content-Length."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)


@pytest.fixture
def server(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            state.requested.append(name)
            compressed = gzip.compress(tiny.contents[name.removesuffix(".gz")], mtime=0)
            status, body, length = state.answers.get(name, complete)(compressed)
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: str) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}/"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setitem(SOURCES, tiny.name, replace(SOURCES[tiny.name], url=state.url))
        yield state
        http.shutdown()
        thread.join()
    gc.collect()  # collect the open sockets while their warning is ignored


@pytest.mark.parametrize("suffix", [".gz", ""], ids=["gzip", "plain"])
@pytest.mark.parametrize("folder", ["data", "cache"])
def test_files_are_found_in_both_folders(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, folder: str, suffix: str) -> None:
    tiny.data.mkdir()
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(getattr(tiny, folder), suffix=suffix)
    assert tiny.loads()


def test_portanet_data_is_searched_before_the_cache(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data)
    tiny.write(tiny.cache, dict.fromkeys(tiny.contents, b"wrong"))
    assert tiny.loads()


def test_portanet_data_must_be_a_folder(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.cache)
    with pytest.raises(DatasetError, match=r"PORTANET_DATA is '.*data', which is not a folder"):
        load(tiny.name)


def test_an_empty_portanet_data_is_ignored(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", "")
    tiny.write(tiny.cache)
    assert tiny.loads()


@pytest.mark.parametrize("suffix", [".gz", ""], ids=["gzip", "plain"])
@pytest.mark.parametrize("which", [0, -1], ids=["first file", "last file"])
def test_a_truncated_file_is_detected(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, which: int, suffix: str) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data, suffix=suffix)
    name = list(tiny.contents)[which] + suffix
    path = tiny.data / tiny.name / name
    content = path.read_bytes()
    redundant = 8 if (tiny.name, suffix) == ("usps", "") else 0  # bytes; the last digits of a text may be zeros
    for size in range(0, len(content) - redundant, 1 + len(content) // 100):
        path.write_bytes(content[:size])
        with pytest.raises(DatasetError, match=f"{name} cannot be loaded: it is not the published file: "):
            load(tiny.name)


@pytest.mark.parametrize("suffix", [".gz", ""], ids=["gzip", "plain"])
@pytest.mark.parametrize("which", [0, -1], ids=["first file", "last file"])
def test_a_changed_byte_is_detected(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, which: int, suffix: str) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data, suffix=suffix)
    name = list(tiny.contents)[which] + suffix
    path = tiny.data / tiny.name / name
    content = path.read_bytes()
    redundant = 10 if suffix else 0  # bytes of the gzip header
    for at in range(redundant, len(content), 1 + len(content) // 100):
        changed = bytearray(content)
        changed[at] ^= 0xFF  # all bits, as a deflate stream has unused bits
        path.write_bytes(changed)
        with pytest.raises(DatasetError, match=f"{name} cannot be loaded: it is not the published file: "):
            load(tiny.name)


def test_error_for_a_wrong_file_names_it_and_the_fix(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    first, *_, last = tiny.contents
    tiny.write(tiny.data, tiny.contents | {first: tiny.contents[last]})
    with pytest.raises(DatasetError) as caught:
        load(tiny.name)
    path = tiny.data / tiny.name / f"{first}.gz"
    assert str(caught.value).startswith(f"{path} cannot be loaded: it is not the published file: expected ")
    assert str(caught.value).endswith(f"; delete it or replace it with {SOURCES[tiny.name].url}{first}.gz")


def test_a_plain_file_with_a_gz_name_is_refused(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data)
    name, content = next(iter(tiny.contents.items()))
    (tiny.data / tiny.name / f"{name}.gz").write_bytes(content)
    with pytest.raises(DatasetError, match="expected a complete gzip file, found: Not a gzipped file"):
        load(tiny.name)


@pytest.mark.parametrize("suffix", [".gz", ""], ids=["gzip", "plain"])
def test_a_file_that_is_too_long_is_not_read_to_its_end(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    first = next(iter(tiny.contents))
    tiny.write(tiny.data, tiny.contents | {first: bytes(10**6)}, suffix=suffix)
    expected = r"expected at most \d+ decompressed bytes, found more" if suffix else r"more than the expected \d+ bytes"
    with pytest.raises(DatasetError, match=expected):
        load(tiny.name)


def test_a_gzip_bomb_takes_no_more_memory_than_the_data(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data)
    zeros, packed = zlib.compressobj(wbits=31), []
    packed += [zeros.compress(bytes(2**20)) for _ in range(512)]  # half a gigabyte in half a megabyte
    packed.append(zeros.flush())
    (tiny.data / tiny.name / f"{next(iter(tiny.contents))}.gz").write_bytes(b"".join(packed))
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=r"more than the expected|expected at most"):
            load(tiny.name)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_damaged_file_is_a_file_format_error_too(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data, dict.fromkeys(tiny.contents, b"wrong"))
    with pytest.raises(FileFormatError) as caught:
        load(tiny.name)
    assert isinstance(caught.value, DatasetError)
    assert str(caught.value.path) in str(caught.value)


@pytest.mark.parametrize("kind", ["a device", "a pipe", "a folder", "a link to itself", "a link to nothing"])
def test_a_link_to_what_is_no_file_is_not_read(tiny: Tiny, server: Server, kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    first = tiny.cache / tiny.name / f"{next(iter(tiny.contents))}.gz"
    targets = {
        "a device": Path("/dev/zero"),
        "a pipe": tmp_path / "pipe",
        "a folder": tmp_path,
        "a link to itself": first,
        "a link to nothing": tmp_path / "nothing",
    }
    first.parent.mkdir(parents=True)
    first.symlink_to(targets[kind])
    assert tiny.loads()  # the download replaces the link, not what it points to
    assert not first.is_symlink()
    assert not (tmp_path / "nothing").exists()


def test_the_bytes_that_are_compared_are_those_that_are_decoded(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data)
    reads: list[Path] = []

    def read_then_replace(path: Path, **options: Any) -> bytes:
        content = files.read_regular(path, **options)
        reads.append(path)
        path.write_bytes(b"replaced")
        return content

    monkeypatch.setattr(fetch, "read_regular", read_then_replace)
    assert tiny.loads()
    assert len(reads) == len(tiny.contents)


def test_downloads_use_https() -> None:
    assert all(source.url.startswith("https://") for source in SOURCES.values() if source.files)


def test_files_are_downloaded_once(tiny: Tiny, server: Server) -> None:
    assert tiny.loads()
    names = [f"{name}.gz" for name in tiny.contents]
    assert server.requested == names
    assert tiny.cached() - {"LICENSE"} == set(names)
    assert tiny.loads()
    assert server.requested == names


def test_the_licence_of_fashion_mnist_is_saved_with_its_files(tiny: Tiny, server: Server) -> None:
    load(tiny.name)
    licence = tiny.cache / tiny.name / "LICENSE"
    assert licence.exists() == (tiny.name == "fashion_mnist")
    if licence.exists():
        assert licence.read_text(encoding="utf-8") == FASHION_MNIST_LICENCE


def test_only_missing_files_are_downloaded(tiny: Tiny, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data)
    missing = f"{next(iter(tiny.contents))}.gz"
    (tiny.data / tiny.name / missing).unlink()
    assert tiny.loads()
    assert server.requested == [missing]
    assert not (tiny.data / tiny.name / missing).exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_download_leaves_no_file_and_names_the_fix(tiny: Tiny, server: Server, fault: str) -> None:
    first = f"{next(iter(tiny.contents))}.gz"
    server.answers[first] = FAULTS[fault]
    with pytest.raises(DatasetError) as caught:
        load(tiny.name)
    assert tiny.cached() == set()
    assert str(caught.value).startswith(f"could not download {server.url}{first}: ")
    *others, last = (f"{name}.gz" for name in tiny.contents)
    by_hand = (
        f"place {', '.join(others)} and {last} by hand in the folder {tiny.name}/ of the folder that PORTANET_DATA"
    )
    assert str(caught.value).endswith(f"; {by_hand} names")
    assert len(str(caught.value)) < 700


def test_after_a_failure_only_missing_files_are_downloaded(tiny: Tiny, server: Server) -> None:
    *good, last = (f"{name}.gz" for name in tiny.contents)
    server.answers[last] = FAULTS["closes the connection half way"]
    with pytest.raises(DatasetError):
        load(tiny.name)
    assert tiny.cached() - {"LICENSE"} == set(good)
    server.answers.clear()
    assert tiny.loads()
    assert server.requested == [*good, last, last]


def test_an_unreachable_server_raises(tiny: Tiny, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, tiny.name, replace(SOURCES[tiny.name], url="http://127.0.0.1:1/"))
    with pytest.raises(
        DatasetError, match=r"could not download http://127\.0\.0\.1:1/.*; place .* by hand in the folder"
    ):
        load(tiny.name)
    assert tiny.cached() == set()


@pytest.mark.parametrize("installed", [True, False])
def test_progress_is_shown_if_tqdm_is_installed(
    tiny: Tiny, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installed: bool
) -> None:
    if installed:
        pytest.importorskip("tqdm", reason="tqdm draws the progress bar")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    assert tiny.loads()
    assert ("100%" in capsys.readouterr().err) == installed


def test_error_without_pooch_says_what_to_install(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"needs pooch: pip install 'portanet\[experiments\]', or place .* by hand"):
        load(tiny.name)


def test_portanet_data_works_without_pooch(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("PORTANET_DATA", str(tiny.data))
    tiny.write(tiny.data)
    assert tiny.loads()
