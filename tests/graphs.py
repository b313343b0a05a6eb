"""Models made for tests: one whose answers can be worked out by hand, and other versions of a bundle."""

from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tellapart.bundle import Bundle


def mean_colour_featurizer(image_size: int | str = "size") -> onnx.ModelProto:
    """The mean red, green and blue of each picture, over 255: features of shape (n, 3)."""
    shape = ["n", image_size, image_size, 3]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
            helper.make_node("Div", ["mean", "white"], ["features"]),
        ],
        "mean colour",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write_version(folder: Path, version: str = "another version") -> str:
    """Write a bundle anew whose graph says another thing about itself, with the same answers.

    Returns its version.
    """
    bundle = Bundle.load(folder)
    graph = onnx.load(bundle.model_path)
    graph.doc_string = version
    (folder / "model.json").unlink()
    onnx.save(graph, bundle.model_path)
    return Bundle.write(folder, bundle.card, readme="").model_sha256[:12]


def leave_to_a_person(folder: Path, low: float = 0.0, high: float = 1.0) -> None:
    """Give a bundle's threshold a band in which a person decides."""
    bundle = Bundle.load(folder)
    assert bundle.card.threshold is not None
    threshold = replace(bundle.card.threshold, band=(low, high))
    bundle.described(replace(bundle.card, threshold=threshold), readme="")
