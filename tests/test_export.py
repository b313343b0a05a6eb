import json
import os

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tellapart.errors import ExportError
from tellapart.training.export import featurizer_onnx, trained_probabilities
from tellapart.training.graph import attach_head, check_parity
from tellapart.training.network import create_network

FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_lite0": 64,
    "googlenet": 32,
    "inception_v3": 96,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 64,
    "timm:test_convnext": 64,
    "timm:test_vit": None,
    "vgg11": 32,
    "vit_b_32": None,
}

ALWAYS = {
    "alexnet",
    "efficientnet_lite0",
    "mobilenet_v3_small",
    "resnet18",
    "squeezenet1_1",
    "timm:test_convnext",
    "timm:test_vit",
}
LONG = pytest.mark.skipif(
    not os.environ.get("TELLAPART_ALL_NETWORKS"),
    reason="two minutes more: set TELLAPART_ALL_NETWORKS=1 for every family",
)

# Images this small are computed sooner than threads can be woken.
torch.set_num_threads(1)


def random_pixels(n, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def shaken(network):
    """Give a network's head and batch norms values that tell images apart, as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        network.head.weight.normal_(generator=generator)
        network.train()(torch.from_numpy(random_pixels(8, network.image_size, seed=1)))
    return network.eval()


def parity_of(path, network, temperature, pixels):
    return check_parity(path, trained_probabilities(network, temperature, pixels), pixels)


def session(model):
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def network():
    return shaken(create_network("timm:test_resnet", weights="none", n_classes=3, image_size=64))


def traits(network):
    """Everything about a network that an export might change."""
    return (
        network.training,
        network.fingerprint,
        [getattr(module, "inplace", None) for module in network.modules()],
        [(parameter.requires_grad, parameter.device) for parameter in network.parameters()],
    )


@pytest.fixture(scope="module")
def export(network):
    before = traits(network)
    return featurizer_onnx(network), before


@pytest.fixture(scope="module")
def featurizer(export):
    return export[0]


@pytest.fixture(scope="module")
def head(network):
    return network.head.weight.detach().numpy(), network.head.bias.detach().numpy()


@pytest.mark.parametrize("n", [1, 2, 64])
def test_the_featurizer_takes_any_number_of_images(network, featurizer, n):
    pixels = random_pixels(n, 64)
    (features,) = session(featurizer).run(["features"], {"pixels": pixels})
    with torch.no_grad():
        expected = network.embed(torch.from_numpy(pixels)).numpy()
    assert features.shape == (n, network.n_features)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_inputs_and_outputs_are_named_and_typed(featurizer, head):
    onnx.checker.check_model(featurizer, full_check=True)
    model = session(attach_head(featurizer, *head, temperature=1.0))
    (taken,), (given,) = model.get_inputs(), model.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("pixels", "tensor(uint8)", ["n", 64, 64, 3])
    assert (given.name, given.type, given.shape) == ("probabilities", "tensor(float)", ["n", 3])


def test_exporting_leaves_the_network_as_it_was(network, export):
    assert traits(network) == export[1]


def test_a_head_gives_the_softmax_of_tempered_logits(featurizer, head):
    weight, bias = head
    pixels = random_pixels(5, 64)
    (features,) = session(featurizer).run(["features"], {"pixels": pixels})
    logits = (features @ weight.T + bias) / 2.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    (y_prob,) = session(attach_head(featurizer, weight, bias, 2.5)).run(None, {"pixels": pixels})
    np.testing.assert_allclose(y_prob, expected, atol=1e-5)
    np.testing.assert_allclose(y_prob.sum(axis=1), 1, atol=1e-6)


def test_one_featurizer_serves_many_heads(featurizer, head):
    before = featurizer.SerializeToString()
    two = attach_head(featurizer, np.zeros((2, len(head[0][0]))), [0.0, np.log(3)], 1.0)
    attach_head(featurizer, *head, temperature=1.0)
    assert featurizer.SerializeToString() == before
    (y_prob,) = session(two).run(None, {"pixels": random_pixels(1, 64)})
    np.testing.assert_allclose(y_prob, [[0.25, 0.75]], atol=1e-6)


def test_class_names_travel_in_the_metadata(featurizer, head):
    model = attach_head(featurizer, *head, temperature=1.0, class_names=["a", "naïve", "c"])
    assert json.loads(session(model).get_modelmeta().custom_metadata_map["class_names"]) == [
        "a",
        "naïve",
        "c",
    ]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(featurizer, head, temperature):
    with pytest.raises(ExportError, match="above 0"):
        attach_head(featurizer, *head, temperature=temperature)


def test_parity_of_an_exported_model(tmp_path, network, featurizer, head):
    onnx.save(attach_head(featurizer, *head, temperature=0.5), tmp_path / "model.onnx")
    parity = parity_of(tmp_path / "model.onnx", network, 0.5, random_pixels(20, 64))
    assert parity.n_images == 20
    assert 0 <= parity.max_difference < 1e-5


@pytest.mark.parametrize("wrong", ["temperature", "bias", "nan"])
def test_a_model_that_differs_is_refused(tmp_path, network, featurizer, head, wrong):
    weight, bias = head
    temperature = 3.0 if wrong == "temperature" else 1.0
    bias = bias + {"temperature": 0, "bias": [1, 0, 0], "nan": float("nan")}[wrong]
    onnx.save(attach_head(featurizer, weight, bias, temperature), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="differs from the trained network"):
        parity_of(tmp_path / "model.onnx", network, 1.0, random_pixels(4, 64))


def test_what_onnx_cannot_express_is_one_clear_error(network):
    class Undecided(torch.nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3)) if images.mean() > 0 else images.amax(dim=(2, 3))

    odd = create_network("timm:test_resnet", weights="none", n_classes=2, image_size=64)
    odd.body = Undecided()
    with pytest.raises(ExportError, match="timm:test_resnet cannot be exported"):
        featurizer_onnx(odd)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=LONG) for name in FAMILIES]
)
def test_every_family_exports_with_a_free_batch_size(tmp_path, name):
    network = shaken(create_network(name, weights="none", n_classes=3, image_size=FAMILIES[name]))
    head = network.head.weight.detach().numpy(), network.head.bias.detach().numpy()
    onnx.save(attach_head(featurizer_onnx(network), *head, temperature=1.5), tmp_path / "model.onnx")
    for n in (1, 17):
        parity_of(tmp_path / "model.onnx", network, 1.5, random_pixels(n, network.image_size))
