"""Every kind of damage to a bundle, and every trick in one, is one clear error and runs nothing."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tellapart.bundle import Bundle, Card
from tellapart.errors import BundleError, TellapartError
from tellapart.inference import Classifier, Engine
from tellapart.training.portable import export

REGIONS = 24
"""Places in each file, evenly spread from its first byte to its last, at which it is damaged."""


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy of a bundle, to be damaged."""
    return shutil.copytree(trained.folder / "model", tmp_path / "model")


def in_regions(content: bytes) -> list[int]:
    return sorted(set(np.linspace(0, len(content) - 1, REGIONS).astype(int).tolist()))


def flipped(content: bytes, place: int, mask: int = 0xFF) -> bytes:
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def answer_to_black(folder: Path) -> np.ndarray:
    model = Classifier.load(folder)
    return model.predict_proba(np.zeros((1, 64, 64, 3), np.uint8))


def error_of(folder: Path) -> BundleError:
    """The error of opening a bundle and letting it answer once."""
    with pytest.raises(BundleError) as caught:
        answer_to_black(folder)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def forget_digests(folder: Path) -> None:
    """Write the card as before there were checksums."""
    values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del values["checksum"], values["sha256"]
    (folder / "model.json").write_text(json.dumps(values), encoding="utf-8")


def replace_model(folder: Path, content: bytes) -> None:
    """Put another model into a bundle, as somebody would who knows of the checksums."""
    (folder / "model.onnx").write_bytes(content)
    Bundle.write(folder, Card.from_json((folder / "model.json").read_text("utf-8")), readme="x")


def test_a_changed_byte_anywhere_in_the_model_is_found(folder):
    """Attack 60: the model is not the one of which the card knows the sha256."""
    path = folder / "model.onnx"
    whole = path.read_bytes()
    for place in in_regions(whole):
        path.write_bytes(flipped(whole, place, mask=0x01))
        assert "model.onnx is damaged" in str(error_of(folder))


def test_a_changed_byte_anywhere_in_the_card_is_found_or_changes_nothing(folder):
    whole, card = (folder / "model.json").read_bytes(), Bundle.load(folder).card
    harmless = 0
    for place in range(len(whole)):
        damaged = flipped(whole, place, mask=(0x01, 0x20, 0x04)[place % 3])
        try:
            # White space between values may become other white space.
            assert Card.from_json(damaged.decode()) == card, place
            harmless += 1
        except BundleError:
            continue
    assert harmless < 0.1 * len(whole)


def test_a_card_that_is_no_text_is_refused(folder):
    path = folder / "model.json"
    whole = path.read_bytes()
    for place in in_regions(whole):
        path.write_bytes(flipped(whole, place))
        assert "model.json is damaged: not UTF-8" in str(error_of(folder))


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_file_cut_short_is_found(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for length in in_regions(whole[:-1]):
        path.write_bytes(whole[:length])
        assert name in str(error_of(folder))


def test_damaged_weights_are_not_passed_on(folder, tmp_path):
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    for place in in_regions(whole):
        path.write_bytes(flipped(whole, place))
        with pytest.raises(BundleError, match=r"weights\.safetensors is damaged"):
            export(Bundle.load(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_readme_is_for_people_and_may_be_edited(folder):
    card = Bundle.load(folder).card
    (folder / "README.md").write_bytes(b"\xff\x00 our own words")
    assert Bundle.load(folder).card == card


def test_a_bundle_without_checksums_still_opens(folder, trained):
    forget_digests(folder)
    np.testing.assert_array_equal(answer_to_black(folder), answer_to_black(trained.folder))


def test_a_damaged_model_without_checksums_never_ends_in_a_foreign_error(folder):
    forget_digests(folder)
    path = folder / "model.onnx"
    whole = path.read_bytes()
    refused = 0
    for place in in_regions(whole[:4000]) + in_regions(whole):
        path.write_bytes(flipped(whole, place))
        try:
            answer_to_black(folder)
        except TellapartError:
            refused += 1
    assert refused > 5  # the rest are weights, whose damage only a checksum can show


def test_an_empty_model_is_refused(folder):
    forget_digests(folder)
    (folder / "model.onnx").write_bytes(b"")
    assert "model.onnx" in str(error_of(folder))


def test_a_card_nested_too_deep_is_refused(folder):
    """Attack 17, in a file."""
    (folder / "model.json").write_text("[" * 100_000)
    assert "model.json is damaged" in str(error_of(folder))


class _Runs:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.trace,)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.onnx"])
def test_a_pickle_is_refused_and_does_not_run(folder, tmp_path, name):
    """Attack 56."""
    trace = tmp_path / "it-ran"
    content = pickle.dumps(_Runs(trace))
    alone = tmp_path / name
    alone.write_bytes(content)
    assert "pickled models (.pt, .pth, .pkl) are never opened" in str(error_of(alone))
    replace_model(folder, content)
    assert "onnxruntime cannot load" in str(error_of(folder))
    (folder / "model.json").write_bytes(content)
    assert "model.json is damaged" in str(error_of(folder))
    assert not trace.exists()


def with_external_data(model: bytes, location: str) -> bytes:
    """Let the first large tensor of a model lie in another file."""
    proto = onnx.load_from_string(model)
    tensor = max(proto.graph.initializer, key=lambda t: len(t.raw_data))
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("location", ["beside.bin", "../outside.bin", "{outside}", "/etc/passwd"])
def test_a_model_that_names_other_files_is_refused(folder, tmp_path, location):
    """Attack 58: ONNX external data, in the folder, above it or anywhere."""
    outside = tmp_path / "outside.bin"
    for path in (outside, folder / "beside.bin"):
        path.write_bytes(bytes(5_000_000))
    content = (folder / "model.onnx").read_bytes()
    replace_model(folder, with_external_data(content, location.format(outside=outside)))
    assert "ONNX external data" in str(error_of(folder))


def test_external_data_is_found_in_longer_encodings_too(folder):
    """Attack 58: protobuf lets a length take more bytes than it needs."""
    content = with_external_data((folder / "model.onnx").read_bytes(), "beside.bin")
    replace_model(folder, content.replace(b"\x0a\x08location", b"\x0a\x88\x00location"))
    assert "ONNX external data" in str(error_of(folder))


def test_a_class_called_location_is_no_external_data(folder):
    proto = onnx.load(folder / "model.onnx")
    proto.metadata_props.add(key="names", value=json.dumps(["location", "other"]))
    replace_model(folder, proto.SerializeToString())
    assert Bundle.load(folder).check("model.onnx") is None


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_member_that_is_a_link_is_refused(folder, tmp_path, name):
    """Attack 59: a link could show any file of the machine by its errors."""
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    error_of(folder)


def test_a_link_to_a_whole_bundle_is_fine(folder, tmp_path):
    (tmp_path / "current").symlink_to(folder)
    assert Bundle.load(tmp_path / "current").card == Bundle.load(folder).card


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_folder_in_the_place_of_a_file_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    error_of(folder)


def test_operators_of_an_unknown_domain_are_refused(folder):
    """Attack 62."""
    proto = onnx.load(folder / "model.onnx")
    proto.graph.node[-1].domain = "elsewhere.example"
    proto.opset_import.append(helper.make_opsetid("elsewhere.example", 1))
    replace_model(folder, proto.SerializeToString())
    assert "elsewhere.example" in str(error_of(folder))
    with pytest.raises(BundleError):
        Engine(folder / "model.onnx")
