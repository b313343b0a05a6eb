import numpy as np
import pytest
import torch
from torch import nn

from tellapart.errors import ConfigError
from tellapart.training.backbones import backbone_names, find_backbone
from tellapart.training.network import create_network, on_device

SMALL = {
    "alexnet": (64, 4096),
    "densenet121": (32, 1024),
    "efficientnet_b0": (32, 1280),
    "efficientnet_lite0": (32, 1280),
    "googlenet": (32, 1024),
    "inception_v3": (96, 2048),
    "mnasnet0_5": (32, 1280),
    "mobilenet_v2": (32, 1280),
    "mobilenet_v3_small": (32, 1024),
    "regnet_x_400mf": (32, 400),
    "resnet18": (32, 512),
    "resnet50": (32, 2048),
    "shufflenet_v2_x0_5": (32, 1024),
    "squeezenet1_1": (32, 512),
    "timm:test_convnext": (64, 64),
    "timm:test_vit": (None, 64),
}
LARGE = {
    "convnext_tiny": (32, 768),
    "maxvit_t": (None, 512),
    "swin_t": (64, 768),
    "swin_v2_t": (64, 768),
    "vgg11": (32, 4096),
    "vgg11_bn": (32, 4096),
    "vit_b_32": (None, 768),
    "wide_resnet50_2": (32, 2048),
}

# Images this small are computed sooner than threads can be woken.
torch.set_num_threads(1)


def random_pixels(n, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator)


def tiny(**options):
    options = {"weights": "none", "n_classes": 3, "image_size": 64} | options
    return create_network("timm:test_resnet", **options)


def check_family(name, image_size, n_features):
    network = create_network(name, weights="none", n_classes=3, image_size=image_size)
    assert network.n_features == n_features
    assert network.training
    pixels = random_pixels(2, network.image_size)
    features = network.embed(pixels)
    assert features.shape == (2, n_features)
    nn.functional.cross_entropy(network(pixels), torch.tensor([0, 2])).backward()
    unused = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert unused == []


@pytest.mark.parametrize("name", SMALL)
def test_each_family_gives_pooled_features_and_trains(name):
    check_family(name, *SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_each_large_family_gives_pooled_features_and_trains(name):
    check_family(name, *LARGE[name])


def test_the_families_tested_are_all_there_are():
    from torchvision.models import get_model_builder

    def families(names):
        return {get_model_builder(name).__module__ for name in names}

    tested = [name for name in SMALL | LARGE if find_backbone(name).library == "torchvision"]
    assert families(tested) == families(n for n in backbone_names() if find_backbone(n).library != "lite")


def test_the_features_are_those_that_the_original_classifier_would_get():
    """A torchvision network with its own classifier, run by hand, is the oracle."""
    from torchvision.models import get_model

    network = create_network("mobilenet_v2", weights="none", n_classes=2, image_size=64, seed=3).eval()
    original = get_model("mobilenet_v2", weights=None).eval()
    original.load_state_dict(network.body.state_dict(), strict=False)
    pixels = random_pixels(2, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = original.features(((pixels / 255 - mean) / std).permute(0, 3, 1, 2)).mean((2, 3))
        torch.testing.assert_close(network.embed(pixels), expected, rtol=1e-4, atol=1e-9)


def test_normalisation_is_inside():
    network = tiny().eval()
    network.body = nn.Identity()
    mean, std = find_backbone("timm:test_resnet").mean, find_backbone("timm:test_resnet").std
    pixels = torch.tensor([10, 128, 250], dtype=torch.uint8).expand(1, 4, 4, 3)
    images = network.embed(pixels)
    assert images.shape == (1, 3, 4, 4)
    expected = [(value - m) / s for value, m, s in zip((10, 128, 250), mean, std, strict=True)]
    np.testing.assert_allclose(images[0, :, 2, 1], expected, rtol=1e-6)


def test_logits_are_the_head_on_the_features():
    network = tiny(dropout=0.5).eval()
    pixels = random_pixels(4, 64)
    with torch.no_grad():
        expected = network.embed(pixels) @ network.head.weight.T + network.head.bias
        torch.testing.assert_close(network(pixels), expected)


def test_dropout_drops_while_training_only():
    network = tiny(dropout=0.9)
    for module in network.body.modules():
        module.eval()
    pixels = random_pixels(2, 64)
    with torch.no_grad():
        network.head.weight.normal_()
        assert not torch.equal(network(pixels), network(pixels))
        network.eval()
        assert torch.equal(network(pixels), network(pixels))


def test_a_new_head_starts_near_equal_probabilities():
    network = tiny(n_classes=7)
    assert network.head.weight.abs().max() < 0.1
    assert network.head.weight.std() > 0.001
    assert torch.equal(network.head.bias, torch.zeros(7))


def test_the_seed_decides_everything_and_leaves_the_global_generator_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, same, other = tiny(seed=1), tiny(seed=1), tiny(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_the_fingerprint_follows_the_body_and_not_the_head():
    network = tiny()
    fingerprint = network.fingerprint
    with torch.no_grad():
        network.head.weight.add_(1)
        assert network.fingerprint == fingerprint
        next(network.body.parameters()).flatten()[0].add_(1)
        assert network.fingerprint != fingerprint


def test_the_state_is_body_and_head_and_nothing_else():
    keys = tiny().state_dict().keys()
    assert {key.split(".")[0] for key in keys} == {"body", "head"}


def test_a_size_that_only_trying_can_refuse():
    with pytest.raises(ConfigError, match="does not take images of 32 px"):
        create_network("timm:inception_v3", weights="none", n_classes=2, image_size=32)


def test_features_as_a_function_on_arrays():
    network = tiny()
    pixels = random_pixels(3, 64)
    featurise = on_device(network, "cpu")
    # A mirrored view has negative strides, which torch does not take by itself.
    features = featurise(pixels.numpy()[:, :, ::-1])
    assert features.shape == (3, network.n_features)
    assert features.dtype == np.float32
    with torch.no_grad():
        np.testing.assert_allclose(features, network.embed(pixels.flip(2)).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_features():
    pixels = random_pixels(3, 64)
    on_cpu = on_device(tiny(), "cpu")(pixels.numpy())
    on_gpu = on_device(tiny(), "cuda")(pixels.numpy())
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2, atol=1e-2 * np.abs(on_cpu).max())
