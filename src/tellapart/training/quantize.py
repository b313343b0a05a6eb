"""Eight-bit models: smaller by four, and faster on processors that multiply bytes.

Static post-training quantisation in ONNX's QDQ form: weights signed and per channel, activations unsigned
with ranges seen on calibration images (Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", CVPR 2018). Normalisation, the pooled features, the head and
the softmax stay in float32, and so does the first convolution, which with three input channels is faster in
float, unless maxima are pooled after it: onnxruntime pools bytes, and does so slowly (6 ms of 15 in a
ResNet-18) unless a convolution in eight bits has laid them out channels last.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from tellapart.data.files import write_atomically
from tellapart.errors import DataError, ExportError

_HEAD = ("head", "temperature", "softmax")
"""Names of the nodes that `tellapart.training.graph.attach_head` adds."""


def quantize(
    model_path: Path,
    calibration_pixels: Iterable[NDArray[np.uint8]],
    out_path: Path,
    *,
    reduce_range: bool = False,
) -> None:
    """Write the eight-bit version of an exported model.

    Parameters
    ----------
    model_path
        An fp32 model: pixels in, probabilities out.
    calibration_pixels
        Batches of uint8 (n, image_size, image_size, 3) from the training split; some 100 images in all
        are plenty. Consumed once, one batch in memory at a time.
    out_path
        Where to write; inputs, outputs and metadata stay the same.
    reduce_range
        Keep weights to seven bits. Processors older than VNNI (x86 before about 2019) can overflow
        with eight; on newer ones seven only cost accuracy.

    Raises
    ------
    ExportError
        If there is no calibration image, or the model cannot be quantised.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reader = _reader(calibration_pixels)
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
        try:
            # Symbolic shape inference is for graphs without shapes; ours have them.
            quant_pre_process(str(model_path), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(quantized),
                reader,
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=reduce_range,
                nodes_to_exclude=_kept_in_float(onnx.load(str(prepared), load_external_data=False).graph),
            )
        except ExportError:
            raise
        except Exception as exc:
            # The quantiser rewrites the graph node by node and raises errors of every kind.
            raise ExportError(f"{model_path} cannot be quantised: {exc}") from exc
        write_atomically(out_path, quantized.read_bytes())


def agreement(reference_prob: NDArray[np.floating], other_prob: NDArray[np.floating]) -> float:
    """Return the part of images, in [0, 1], whose most probable class is the same for two models.

    Parameters
    ----------
    reference_prob, other_prob
        Shape (n_samples, n_classes), n_samples at least 1.

    Raises
    ------
    DataError
        If the shapes differ or there is no image.
    """
    if reference_prob.shape != other_prob.shape or reference_prob.ndim != 2 or not len(reference_prob):
        raise DataError(
            f"agreement needs probabilities of one shape (n_samples, n_classes) with at least one image; "
            f"got {reference_prob.shape} and {other_prob.shape}"
        )
    return float(np.mean(reference_prob.argmax(axis=1) == other_prob.argmax(axis=1)))


def _kept_in_float(graph: onnx.GraphProto) -> list[str]:
    """Name the nodes before the first convolution, mostly that one too, and those of the head."""
    convolutions = [i for i, node in enumerate(graph.node) if node.op_type == "Conv"]
    if not convolutions:
        return [*_HEAD]
    first, second = [*convolutions, len(graph.node)][:2]
    pools = any(node.op_type == "MaxPool" for node in graph.node[first:second])
    return [*(node.name for node in graph.node[: first if pools else first + 1]), *_HEAD]


def _reader(batches: Iterable[NDArray[np.uint8]]) -> object:
    """Wrap batches as onnxruntime wants them: a dictionary of inputs per call, then None."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[NDArray[np.uint8]] = (batch for batch in batches if len(batch))
            self.n_batches = 0

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            if batch is None and self.n_batches == 0:
                raise ExportError("there is no calibration image; give at least one from the training split")
            self.n_batches += 1
            return None if batch is None else {"pixels": batch}

    return Reader()
