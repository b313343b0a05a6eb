import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tellapart.errors import DataError, ExportError
from tellapart.training.export import featurizer_onnx
from tellapart.training.graph import attach_head
from tellapart.training.network import create_network
from tellapart.training.quantize import agreement, quantize

# Images this small are computed sooner than threads can be woken.
torch.set_num_threads(1)
SIZE = 64


def pictures(n, seed):
    """Half of the images are red at the left, the other half blue at the right, both under noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (n, SIZE, SIZE, 3))
    pixels[::2, :, : SIZE // 2, 0] += 130
    pixels[1::2, :, SIZE // 2 :, 2] += 130
    return pixels.astype(np.uint8)


def predict(path, pixels):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"pixels": pixels})[0]


@pytest.fixture(scope="module", params=["resnet18", "efficientnet_lite0"])
def model(request, tmp_path_factory):
    """A random network under a head that tells the two kinds of picture apart."""
    network = create_network(request.param, weights="none", n_classes=2, image_size=SIZE).eval()
    pixels = pictures(32, seed=1)
    with torch.no_grad():
        features = network.embed(torch.from_numpy(pixels)).numpy()
    direction = features[::2].mean(axis=0) - features[1::2].mean(axis=0)
    direction /= np.square(direction).sum()
    bias = -direction @ features.mean(axis=0)
    weight = 8 * np.stack([direction, -direction])
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    head = attach_head(featurizer_onnx(network), weight, [8 * bias, -8 * bias], 2.0, ["red", "blue"])
    onnx.save(head, path)
    return path


@pytest.fixture(scope="module")
def quantized(model):
    out = model.with_name("int8.onnx")
    quantize(model, (pictures(8, seed) for seed in (2, 3)), out)
    return out


def operations(path):
    return {node.name: node for node in onnx.load(path).graph.node}


def test_the_eight_bit_model_agrees_and_is_a_quarter_of_the_size(model, quantized):
    pixels = pictures(32, seed=4)
    reference, ours = predict(model, pixels), predict(quantized, pixels)
    assert set(reference.argmax(axis=1)) == {0, 1}
    assert agreement(reference, ours) == 1.0
    assert 0 < np.abs(reference - ours).max() < 0.1
    assert quantized.stat().st_size < 0.3 * model.stat().st_size


def test_the_head_stays_in_float_and_the_first_convolution_where_that_is_faster(quantized):
    graph = onnx.load(quantized).graph
    pools = "MaxPool" in {node.op_type for node in graph.node}
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    eight_bit = [made_by.get(node.input[1]) == "DequantizeLinear" for node in convolutions]
    assert eight_bit == [pools] + [True] * (len(convolutions) - 1)
    head = operations(quantized)["head"]
    assert made_by.get(head.input[1]) is None
    assert made_by[head.input[0]] != "DequantizeLinear"


def test_the_interface_and_the_class_names_stay(model, quantized):
    sessions = [ort.InferenceSession(str(p), providers=["CPUExecutionProvider"]) for p in (model, quantized)]
    for end in ("get_inputs", "get_outputs"):
        before, after = ([(v.name, v.type, v.shape) for v in getattr(s, end)()] for s in sessions)
        assert before == after
    assert json.loads(sessions[1].get_modelmeta().custom_metadata_map["class_names"]) == ["red", "blue"]


def test_any_number_of_images(quantized):
    pixels = pictures(7, seed=5)
    together = predict(quantized, pixels)
    one_by_one = np.concatenate([predict(quantized, pixels[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)


def test_seven_bits_are_a_choice(model, tmp_path):
    def widest(path):
        weights = [onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer]
        return max(np.abs(w.astype(int)).max() for w in weights if w.dtype == np.int8 and w.ndim == 4)

    quantize(model, [pictures(4, seed=2)], tmp_path / "seven.onnx", reduce_range=True)
    quantize(model, [pictures(4, seed=2)], tmp_path / "eight.onnx")
    assert widest(tmp_path / "seven.onnx") <= 64 < widest(tmp_path / "eight.onnx") <= 128


@pytest.mark.parametrize("batches", [[], [np.empty((0, SIZE, SIZE, 3), np.uint8)]])
def test_no_calibration_image_is_an_error_and_writes_nothing(model, tmp_path, batches):
    with pytest.raises(ExportError, match="no calibration image"):
        quantize(model, batches, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_model_is_an_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match="cannot be quantised"):
        quantize(tmp_path / "model.onnx", [pictures(2, 0)], tmp_path / "out.onnx")


def test_agreement_counts_equal_first_choices():
    reference = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.8, 0.2]])
    other = np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9], [0.7, 0.3]])
    assert agreement(reference, other) == 0.75
    assert agreement(reference, reference) == 1.0


@pytest.mark.parametrize("shapes", [((2, 2), (3, 2)), ((0, 2), (0, 2)), ((4,), (4,))])
def test_agreement_of_what_cannot_be_compared_is_an_error(shapes):
    with pytest.raises(DataError, match="one shape"):
        agreement(*(np.ones(shape) for shape in shapes))
