"""From a torch network to an ONNX graph that gives the same answers, and the proof that it does."""

import copy
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tellapart.errors import ExportError
from tellapart.training.network import Network

PARITY_TOLERANCE = 1e-4
"""Largest difference in probability between the exported and the trained model that we accept in fp32."""

_BATCH_SIZE = 16


@dataclass(frozen=True)
class Parity:
    """How far an exported model is from the network it was made from.

    Attributes
    ----------
    n_images
        How many images were compared.
    max_difference
        Largest absolute difference of any probability, in [0, 1].
    """

    n_images: int
    max_difference: float


class _Featurizer(nn.Module):
    """A network that stops at its features."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.embed(pixels)


def featurizer_onnx(network: Network) -> onnx.ModelProto:
    """Export a network up to its features.

    Returns
    -------
    ModelProto
        Input ``pixels``, uint8 of shape (n, image_size, image_size, 3), RGB; output ``features``,
        float32 of shape (n, n_features). Any n.

    Raises
    ------
    ExportError
        If the network holds something that ONNX cannot express.
    """
    featurizer = _Featurizer(copy.deepcopy(network)).cpu().float().eval().requires_grad_(False)
    for module in featurizer.modules():
        # The exporter takes operations in place apart one by one, which doubles its time for nothing.
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
    size = network.image_size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                featurizer,
                (example,),
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                input_names=["pixels"],
                output_names=["features"],
                verbose=False,
            )
        assert program is not None
        model: onnx.ModelProto = program.model_proto
    except Exception as exc:
        # Tracing, decomposing and translating a network raise errors of every kind, each with its own.
        raise ExportError(f"{network.spec.name} cannot be exported to ONNX: {_first_line(exc)}") from exc
    # The exporter notes source files and stack frames of the machine it runs on; nobody needs them.
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    return model


def attach_head(
    featurizer: onnx.ModelProto,
    weight: ArrayLike,
    bias: ArrayLike,
    temperature: float,
    class_names: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """Return a copy of a featurizer that goes on to probabilities.

    Parameters
    ----------
    featurizer
        As from `featurizer_onnx`.
    weight, bias
        Of the linear head: shapes (n_classes, n_features) and (n_classes,).
    temperature
        By which the logits are divided before the softmax; above 0.
    class_names
        Noted in the model's metadata as a JSON list under ``class_names``.

    Returns
    -------
    ModelProto
        Output ``probabilities``, float32 of shape (n, n_classes), rows summing to 1.
    """
    if not temperature > 0:
        raise ExportError(f"temperature is {temperature}; it must be above 0")
    weight, bias = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
    model = onnx.ModelProto()
    model.CopyFrom(featurizer)
    graph = model.graph
    constants = {"head.weight": weight, "head.bias": bias, "temperature": np.float32(temperature)}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    graph.node.extend(
        [
            helper.make_node("Gemm", ["features", "head.weight", "head.bias"], ["logits"], "head", transB=1),
            helper.make_node("Div", ["logits", "temperature"], ["tempered_logits"], "temperature"),
            helper.make_node("Softmax", ["tempered_logits"], ["probabilities"], "softmax", axis=-1),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(bias)]))
    if class_names is not None:
        names = json.dumps(list(class_names), ensure_ascii=False)
        model.metadata_props.add(key="class_names", value=names)
    return model


def check_parity(
    model_path: Path,
    network: Network,
    temperature: float,
    pixels: NDArray[np.uint8],
    tolerance: float = PARITY_TOLERANCE,
) -> Parity:
    """Run an exported model and the network it was made from on the same images.

    Parameters
    ----------
    model_path
        The ONNX file: pixels in, probabilities out.
    network
        With the same head; a copy of it is evaluated in float32 on the CPU.
    temperature
        Of the exported model.
    pixels
        uint8 of shape (n, image_size, image_size, 3), n at least 1.

    Raises
    ------
    ExportError
        If any probability differs by more than `tolerance`, or is not a number.
    """
    session = ort.InferenceSession(str(model_path), providers=["CPUExecutionProvider"])
    # On the CPU, because a GPU may round to TF32 where nobody asked for it.
    trained, max_difference = copy.deepcopy(network).cpu().float().eval(), 0.0
    for start in range(0, len(pixels), _BATCH_SIZE):
        batch = np.ascontiguousarray(pixels[start : start + _BATCH_SIZE])
        with torch.inference_mode():
            logits = trained(torch.from_numpy(batch)).double()
        expected = torch.softmax(logits / temperature, dim=1).numpy()
        (exported,) = session.run(["probabilities"], {"pixels": batch})
        max_difference = float(np.maximum(max_difference, np.abs(exported - expected).max()))
    if not max_difference <= tolerance:
        raise ExportError(
            f"{model_path} differs from the trained network by {max_difference:.2g} in probability on "
            f"{len(pixels)} images; at most {tolerance:g} is accepted. Please report this with the name of "
            f"the backbone, {network.spec.name}; another --backbone helps meanwhile"
        )
    return Parity(len(pixels), max_difference)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings, which concern its own insides; its errors are exceptions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(exc: BaseException) -> str:
    text = str(exc.__cause__ or exc).strip() or type(exc).__name__
    return text.splitlines()[0]
