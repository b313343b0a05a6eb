"""Saliency maps point at what decides, where that is known: a planted square alone tells the classes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graphs import mean_colour_featurizer
from tellapart.bundle import Bundle
from tellapart.data.images import Resize, load_pixels
from tellapart.errors import BundleError, ConfigError, MissingExtra
from tellapart.inference import Engine
from tellapart.training import saliency
from tellapart.training.backbones import BackboneSpec
from tellapart.training.graph import attach_head
from tellapart.training.network import Network, create_network
from tellapart.training.saliency import Explainer, feature_map_size, grad_cam, occlusion

SIZE = 56
SQUARE = (slice(8, 24), slice(32, 48))
"""Rows and columns of the planted square."""


def planted(colour):
    """Grey noise, with a square of one colour."""
    pixels = np.random.default_rng(0).integers(110, 140, (SIZE, SIZE, 3)).astype(np.uint8)
    pixels[SQUARE] = colour
    return pixels


def inside(heat):
    """The part of a map's heat that lies in the square or within a quarter of its width around it."""
    near = np.zeros_like(heat)
    near[SQUARE[0].start - 4 : SQUARE[0].stop + 4, SQUARE[1].start - 4 : SQUARE[1].stop + 4] = 1
    return float((heat * near).sum() / heat.sum())


@pytest.fixture
def colourist():
    """A convolutional network whose features are how red and how green a picture is, class a for red."""
    spec = BackboneSpec("colourist", "lite", "none", SIZE, (127.0,) * 3, (128.0,) * 3, "", "")
    convolution = nn.Conv2d(3, 2, 4, stride=4, bias=False)
    weight = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])  # redder than green, greener than red
    convolution.weight = nn.Parameter(weight[:, :, None, None].expand(2, 3, 4, 4) / 16)
    body = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Network(spec, body, image_size=SIZE, n_classes=2).eval()
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[0.0, 0.0], [-20.0, 20.0]]))  # class a's logit is constant
        network.head.bias.copy_(torch.tensor([0.0, 1.0]))
    return network


@pytest.fixture
def colour_engine(tmp_path):
    graph = attach_head(mean_colour_featurizer(SIZE), [[20.0, -20, 0], [-20, 20, 0]], [0, 0], 1.0)
    return Engine(graph.SerializeToString())


def test_grad_cam_points_at_the_square_that_decides(colourist):
    heat, index, probability = grad_cam(colourist, planted((250, 20, 20)), 0)
    assert heat.shape == (SIZE, SIZE)
    assert heat.dtype == np.float32
    assert (heat.min(), heat.max()) == (0, 1)
    assert index == 0
    assert inside(heat) > 0.95
    logits = colourist(torch.from_numpy(planted((250, 20, 20)))[None]).detach()
    assert probability == pytest.approx(float(torch.softmax(logits, 1)[0, 0]), abs=1e-6)


def test_grad_cam_of_the_other_class_does_not_point_there(colourist):
    heat, _, _ = grad_cam(colourist, planted((250, 20, 20)), 1)
    assert heat[SQUARE].mean() < 0.1


def test_grad_cam_explains_the_most_probable_class_unless_told(colourist):
    assert grad_cam(colourist, planted((250, 20, 20)))[1] == 0
    assert grad_cam(colourist, planted((20, 250, 20)))[1] == 1


def test_occlusion_points_at_the_square_whatever_the_model_is(colour_engine):
    heat, index, probability = occlusion(colour_engine, planted((250, 20, 20)))
    assert (heat.min(), heat.max()) == (0, 1)
    assert index == 0
    assert inside(heat) > 0.6  # patches are two steps wide, so the edges are soft
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert SQUARE[0].start <= row < SQUARE[0].stop
    assert SQUARE[1].start <= column < SQUARE[1].stop
    assert probability > 0.5


def test_where_nothing_speaks_for_a_class_the_map_is_empty(colour_engine):
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    heat, _, _ = occlusion(colour_engine, flat)
    assert not heat.any()


@pytest.mark.parametrize(
    ("backbone", "size", "n_places"),
    [
        ("efficientnet_lite0", 64, 2),
        ("resnet18", 64, 2),
        ("densenet121", 64, 2),
        ("squeezenet1_1", 64, 3),
        ("convnext_tiny", 64, 2),
        ("timm:vit_tiny_patch16_224", 224, 0),
    ],
)
def test_networks_with_a_map_of_features_have_grad_cam(backbone, size, n_places):
    network = create_network(backbone, weights="none", n_classes=3, image_size=size).eval()
    assert feature_map_size(network) == n_places
    if n_places:
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
        heat, _, _ = grad_cam(network, pixels, 1)
        assert heat.shape == (size, size)
        assert 0 <= heat.min() <= heat.max() <= 1


def test_grad_cam_is_what_each_place_adds_where_features_are_a_mean():
    network = create_network("resnet18", weights="none", n_classes=2, image_size=128, seed=3).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    features = []
    network.body.layer4.register_forward_hook(lambda module, given, output: features.append(output))
    network(torch.from_numpy(pixels)[None])
    direction = network.head.weight[1] - network.head.weight[0]
    added = torch.einsum("c,chw->hw", direction, features[0][0]).clamp(min=0).detach()
    heat, _, _ = grad_cam(network, pixels, 1)
    expected = nn.functional.interpolate(added[None, None], (128, 128), mode="bilinear")[0, 0]
    np.testing.assert_allclose(heat, (expected / expected.max()).numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def picture(photos):
    return load_pixels(photos / "malignant" / "003.png", Resize(64))


def test_a_bundles_own_weights_are_explained(trained, picture):
    bundle = Bundle.load(trained.folder)
    explainer = Explainer(bundle)
    assert explainer.why_no_grad_cam is None
    found = explainer.explain(picture)
    assert found.method == "grad-cam"
    assert found.map.shape == (64, 64)
    assert found.n_places == 2
    said = trained.model.predict_proba(picture[None])[0]
    assert found.class_name == bundle.card.class_names[said.argmax()]
    assert found.probability == pytest.approx(said.max(), abs=1e-4)
    other = explainer.explain(picture, "benign", "occlusion")
    assert (other.class_name, other.method) == ("benign", "occlusion")
    assert other.probability == pytest.approx(said[0], abs=1e-4)


def copied(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained.folder / "model", tmp_path / "model"))


def test_without_weights_or_torch_it_is_occlusion_and_says_why(trained, picture, tmp_path, monkeypatch):
    folder = copied(trained, tmp_path)
    (folder / "weights.safetensors").unlink()
    explainer = Explainer(Bundle.load(folder))
    assert explainer.explain(picture).method == "occlusion"
    with pytest.raises(ConfigError, match=r"no Grad-CAM: this copy of the model has no weights.safetensors"):
        explainer.explain(picture, method="grad-cam")
    monkeypatch.setattr(saliency, "find_spec", lambda name: None)
    bare = Explainer(Bundle.load(trained.folder))
    assert bare.explain(picture).method == "occlusion"
    with pytest.raises(MissingExtra, match=r"pip install 'tellapart\[train\]'"):
        bare.explain(picture, method="grad-cam")


def test_a_wrong_class_and_damaged_weights_are_refused_in_one_line(trained, picture, tmp_path):
    with pytest.raises(ConfigError, match="the model knows no class 'cat'; it knows benign, malignant"):
        Explainer(Bundle.load(trained.folder)).explain(picture, "cat")
    folder = copied(trained, tmp_path)
    (folder / "weights.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(BundleError, match="is damaged"):
        Explainer(Bundle.load(folder)).explain(picture)
    card = json.loads((folder / "model.json").read_text())
    del card["sha256"]["weights.safetensors"], card["checksum"]
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match="does not fit timm:test_resnet"):
        Explainer(Bundle.load(folder)).explain(picture)
