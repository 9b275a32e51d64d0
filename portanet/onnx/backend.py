"""PortaNet as a backend of ONNX: a runtime for models on any device."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from onnx import ModelProto, NodeProto, checker, helper
from onnx.backend import base

from portanet.backends import BackendUnavailable, get_backend
from portanet.onnx.runtime import Program, check_types, inlined, operator_of, versions_of

__all__ = ["Backend", "PreparedModel"]


class PreparedModel(base.BackendRep):
    """
    A model that is ready to run.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program):
        self.program = program

    def run(self, inputs: Any, **options: Any) -> Any:
        """
        Return the outputs, as a tuple with their names.

        Parameters
        ----------
        inputs : array or sequence of arrays
            One for each input of the model, in order.
        **options
            None are used.

        Returns
        -------
        tuple of arrays
            NumPy arrays for NumPy inputs, else arrays on the device.
        """
        arrays = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        outputs = self.program.run(arrays)
        if all(isinstance(array, (np.ndarray, np.generic)) for array in arrays):
            outputs = tuple(map(self.program.backend.to_numpy, outputs))
        return base.namedtupledict("Outputs", self.program.outputs)(*outputs)


class Backend(base.Backend):
    """
    A runtime for ONNX models, with the interface of ``onnx.backend.base.Backend``.

    ``prepare`` returns a model that can run many times, ``run_model`` runs it once, ``run_node`` runs one node. Models
    may use operator sets from version 6 to the current one.

    Examples
    --------
    >>> from onnx import TensorProto, helper
    >>> value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
    >>> prepared = Backend.prepare(helper.make_model(graph), "CPU")
    >>> prepared.run([np.asarray([-1.0, 2.0], "float32")]).y
    array([0., 2.], dtype=float32)
    """

    devices: ClassVar[dict[str, str]] = {"CPU": "cpu", "CUDA": "cuda"}
    """PortaNet's devices, by ONNX's names."""

    @classmethod
    def _backend(cls, device: str) -> Any:
        kind, colon, ordinal = device.partition(":")
        return get_backend(cls.devices.get(kind, kind) + colon + ordinal)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """
        Whether a device can be used here.

        Parameters
        ----------
        device : str
            "CPU", "CUDA" or "CUDA:1", for instance.

        Returns
        -------
        bool
        """
        try:
            cls._backend(device)
        except (BackendUnavailable, ValueError):
            return False
        return True

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **options: Any) -> bool:
        """
        Whether PortaNet has all operators of a model, and the device all dtypes.

        Parameters
        ----------
        model : ModelProto
        device : str
        **options
            None are used.

        Returns
        -------
        bool
        """
        try:
            model = inlined(model)
            check_types(model.graph, cls._backend(device))
            for node in model.graph.node:
                if node.op_type != "Constant":
                    operator_of(node, versions_of(model))
        except (BackendUnavailable, ValueError, TypeError):
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **options: Any) -> PreparedModel:
        """
        Return a model that is ready to run on a device.

        Parameters
        ----------
        model : ModelProto
        device : str
        **options
            None are used.

        Returns
        -------
        PreparedModel

        Raises
        ------
        ValueError, TypeError
            If the model is not valid, or an operator or dtype is not supported; the message names the node.
        BackendUnavailable
            If the device cannot be used.
        """
        try:
            checker.check_model(model)
        except checker.ValidationError as error:
            raise ValueError(f"model is not valid: {error}") from error
        return PreparedModel(Program(model, cls._backend(device)))

    @classmethod
    def run_model(cls, model: ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> Any:
        """
        Return the outputs of a model.

        Parameters
        ----------
        model : ModelProto
        inputs : array or sequence of arrays
            One for each input of the model, in order.
        device : str
        **options
            None are used.

        Returns
        -------
        tuple of arrays
            See ``PreparedModel.run``.

        Raises
        ------
        ValueError, TypeError
            See :meth:`prepare`.
        """
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> Any:
        """
        Return the outputs of one node.

        Parameters
        ----------
        node : NodeProto
        inputs : sequence of NumPy arrays
        device : str
        outputs_info : optional
            Not needed.
        **options
            ``opset_version``, the version of the operator set; by default the current one.

        Returns
        -------
        tuple of arrays
            See ``PreparedModel.run``.

        Raises
        ------
        ValueError, TypeError
            If the operator or a dtype is not supported; the message names the node.
        """
        inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), array.shape)
            for name, array in zip(filter(None, node.input), inputs, strict=True)
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", given, outputs)
        entries = [helper.make_opsetid(node.domain, options["opset_version"])] if "opset_version" in options else None
        model = helper.make_model(graph, opset_imports=entries)
        return PreparedModel(Program(model, cls._backend(device))).run(inputs)
