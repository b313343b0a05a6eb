"""From a torch network to its ONNX featurizer, and the answers that the exported model must give."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import ExportError
from tellapart.training.network import Network

_BATCH_SIZE = 16


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


def trained_probabilities(
    network: Network, temperature: float, pixels: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return what a network itself says: float64 of shape (n, n_classes).

    In float32 on the CPU, because a GPU may round to TF32 where nobody asked for it.
    """
    trained = copy.deepcopy(network).cpu().float().eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pixels), _BATCH_SIZE):
            batch = np.ascontiguousarray(pixels[start : start + _BATCH_SIZE])
            logits = trained(torch.from_numpy(batch)).double()
            rows.append(torch.softmax(logits / temperature, dim=1).numpy())
    return np.concatenate(rows)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings, which concern its own insides; its errors are exceptions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(exc: BaseException) -> str:
    text = str(exc.__cause__ or exc).strip() or type(exc).__name__
    return text.splitlines()[0]
