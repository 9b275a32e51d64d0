"""ONNX files, read so that a damaged or hostile one gives one clear error."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto, checker

from portanet.files import as_file_errors, read_regular, read_span
from portanet.onnx.protos import array_of

MAX_BYTES = 2**31
"""Most bytes of a file: those that protobuf allows."""


def read_model(path: Path) -> ModelProto:
    """
    Read a model, with the tensors that it keeps in other files of its folder.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileFormatError
        If it is no valid model, or refers to files outside of its folder.
    """
    content = read_regular(path, max_bytes=MAX_BYTES)
    model = ModelProto()
    with as_file_errors(path):
        try:
            model.ParseFromString(content)
        except Exception as error:
            raise ValueError("it is no ONNX file") from error
        _read_external_tensors(model, path.parent)
        for tensor in tensors_of(model.graph):
            array_of(tensor)
        try:
            checker.check_model(model)
        except checker.ValidationError as error:
            raise ValueError(f"it is no valid model: {error}") from error
    return model


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield the initializers of a graph, and the tensors among the attributes of its nodes."""
    yield from graph.initializer
    for attribute in (a for node in graph.node for a in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("g"):
            yield from tensors_of(attribute.g)


def _read_external_tensors(model: ModelProto, folder: Path) -> None:
    """Put the bytes of other files into the tensors that refer to them."""
    read: Counter[Path] = Counter()
    for tensor in tensors_of(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = _external_path(tensor, entries.get("location", ""), folder)
        try:
            size, offset = path.stat().st_size, int(entries.get("offset", 0))
            length = int(entries.get("length", size - offset))
            read[path] += length
            if read[path] > size:
                raise ValueError("its tensors are larger than the file together")
            content = read_span(path, offset, length)
        except (OSError, ValueError) as error:
            raise ValueError(f"tensor {tensor.name!r} lies in {path.name!r}, which cannot be read: {error}") from error
        tensor.raw_data = content
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _external_path(tensor: TensorProto, location: str, folder: Path) -> Path:
    """Return the path of another file; links are followed first, and must stay within the folder."""
    root, path = Path(os.path.realpath(folder)), Path(os.path.realpath(folder / location))
    if not location or Path(location).is_absolute() or root not in path.parents:
        raise ValueError(f"tensor {tensor.name!r} lies in {location!r}, outside of the folder of the file")
    return path
