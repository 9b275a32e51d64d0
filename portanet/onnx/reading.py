"""ONNX files, read so that a damaged or hostile one gives one clear error."""

import os
from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto, checker

from portanet.files import FileFormatError, as_file_errors, read_regular
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
        for tensor in tensors_of(model.graph):
            if tensor.data_location == TensorProto.EXTERNAL:
                _read_external(tensor, path.parent)
            array_of(tensor)
        checker.check_model(model)
    return model


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield the initializers of a graph, and the tensors among the attributes of its nodes."""
    yield from graph.initializer
    for attribute in (a for node in graph.node for a in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("g"):
            yield from tensors_of(attribute.g)


def _read_external(tensor: TensorProto, folder: Path) -> None:
    """Put the bytes of another file into a tensor."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path, root = Path(os.path.realpath(folder / location)), Path(os.path.realpath(folder))
    if not location or Path(location).is_absolute() or root not in path.parents:
        raise ValueError(f"tensor {tensor.name!r} lies in {location!r}, outside of the folder of the file")
    try:
        content = read_regular(path)
    except (OSError, FileFormatError) as error:
        raise ValueError(f"tensor {tensor.name!r} lies in {location!r}, which cannot be read: {error}") from error
    offset = int(entries.get("offset", 0))
    length = int(entries.get("length", len(content) - offset))
    if offset < 0 or length < 0 or offset + length > len(content):
        raise ValueError(f"tensor {tensor.name!r} lies beyond the end of {location!r}")
    tensor.raw_data = content[offset : offset + length]
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]
