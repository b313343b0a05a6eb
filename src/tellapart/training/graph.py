"""The exported classifier as an ONNX graph: put together, and proved equal to the trained network.

Needs onnx but no torch, so that a run whose network is known already need not import it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from tellapart.data.reader import in_parallel
from tellapart.errors import ExportError
from tellapart.inference import CHUNK, Engine

PARITY_TOLERANCE = 1e-4
"""Largest difference in probability between the exported and the trained model that we accept in fp32."""


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
    expected: NDArray[np.float64],
    pixels: NDArray[np.uint8],
    tolerance: float = PARITY_TOLERANCE,
) -> Parity:
    """Run an exported model on images of which the trained network's answers are known.

    Parameters
    ----------
    model_path
        The ONNX file: pixels in, probabilities out.
    expected
        float64 of shape (n, n_classes): the trained network's probabilities.
    pixels
        uint8 of shape (n, image_size, image_size, 3), n at least 1.

    Raises
    ------
    ExportError
        If any probability differs by more than `tolerance`, or is not a number.
    """
    engine = Engine(model_path)
    batches = np.array_split(np.ascontiguousarray(pixels), -(-len(pixels) // CHUNK))
    exported = np.concatenate(list(in_parallel(engine, batches)))
    max_difference = float(np.abs(exported - expected).max())
    if not max_difference <= tolerance:
        raise ExportError(
            f"{model_path} differs from the trained network by {max_difference:.2g} in probability on "
            f"{len(pixels)} images; at most {tolerance:g} is accepted. Please report this with the name of "
            "the backbone; another --backbone helps meanwhile"
        )
    return Parity(len(pixels), max_difference)
