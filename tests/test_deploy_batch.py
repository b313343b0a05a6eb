"""Many images on a Ray cluster: the answers of `predict`, in parts that survive an interruption."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphs import leave_to_a_person, write_version
from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.deploy.batch import predict_files
from tellapart.errors import ConfigError
from tellapart.inference import Classifier

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_class_folders(tmp_path_factory.mktemp("many"), {"benign": 30, "malignant": 30})
    (root / "benign" / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def answered(trained, folder, tmp_path_factory):
    """Parts of 25, as the command would write of 20,000."""
    out = tmp_path_factory.mktemp("answers")
    n_errors = predict_files(trained.folder, sorted(folder.rglob("*.png")), out, part_size=25)
    return out, n_errors


def rows_of(out):
    return [row for part in sorted(out.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_the_answers_are_those_of_predict(trained, folder, answered):
    out, n_errors = answered
    rows = rows_of(out)
    paths = sorted(folder.rglob("*.png"))
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    good = [row for row in rows if row["error"] is None]
    expected = Classifier.load(trained.folder).predict([row["path"] for row in good])
    got = [[row[f"prob_{name}"] for name in expected.class_names] for row in good]
    np.testing.assert_allclose(got, expected.y_prob, atol=1e-6)
    (bad,) = [row for row in rows if row["error"] is not None]
    assert {row["abstained"] for row in rows} == {False}
    assert n_errors == 1
    assert bad["path"].endswith("broken.png")
    assert "not an image" in bad["error"]


def test_it_goes_on_where_it_was_interrupted(trained, folder, answered, tmp_path):
    out, _ = answered
    half = tmp_path / "half"
    half.mkdir()
    (half / "part-00000.parquet").write_bytes((out / "part-00000.parquet").read_bytes())
    untouched = (half / "part-00000.parquet").stat().st_mtime_ns
    assert (
        run(["predict", str(trained.folder), str(folder), "--ray", "--out", str(half)]) == 1
    )  # one is broken
    assert (half / "part-00000.parquet").stat().st_mtime_ns == untouched
    assert sorted(row["path"] for row in rows_of(half)) == sorted(row["path"] for row in rows_of(out))


def test_answers_of_another_model_are_not_mixed_in(trained, folder, answered, tmp_path):
    copy = shutil.copytree(trained.folder / "model", tmp_path / "other")
    write_version(copy)
    with pytest.raises(ConfigError, match="answers of another model"):
        predict_files(copy, sorted(folder.rglob("*.png")), answered[0])


def test_nor_are_answers_by_another_threshold(trained, folder, answered, tmp_path):
    copy = shutil.copytree(trained.folder / "model", tmp_path / "other")
    leave_to_a_person(copy)
    with pytest.raises(ConfigError, match="answers of another model"):
        predict_files(copy, sorted(folder.rglob("*.png")), answered[0])


def test_the_command_says_what_goes_with_what(trained, folder, capsys):
    assert run(["predict", str(trained.folder), str(folder), "--ray"]) == 1
    assert "--out DIR" in capsys.readouterr().err
    assert run(["predict", str(trained.folder), str(folder), "--out", "x"]) == 1
    assert "go with --ray" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:9", "head", "head:port"])
def test_an_address_without_a_cluster_is_one_line_at_once(trained, folder, tmp_path, capsys, address):
    arguments = ["predict", str(trained.folder), str(folder), "--ray", "--address", address]
    assert run([*arguments, "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert address in line
