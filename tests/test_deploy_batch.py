"""Many images on a Ray cluster: the answers of `predict`, in parts that survive an interruption."""

import os
import shutil

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

from graphs import leave_to_a_person, write_version
from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.deploy import batch
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
def cluster():
    """The address of a cluster of one node."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def answered(trained, folder, cluster, tmp_path_factory):
    """Parts of 25, as the command would write of 20,000; the broken file is in the last."""
    out = tmp_path_factory.mktemp("answers")
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name == "broken.png")
    n_errors = predict_files(trained.folder, paths, out, address=cluster, part_size=25)
    return out, n_errors


def rows_of(out):
    return [row for part in sorted(out.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_the_answers_are_those_of_predict(trained, folder, answered):
    out, n_errors = answered
    rows = rows_of(out)
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name == "broken.png")
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


def test_the_parts_are_read_as_one(answered):
    """The first has no error at all, and an inferred column of it would not fit the others."""
    out, _ = answered
    assert pq.read_table(out)["error"].null_count == 60
    assert len(pandas.read_parquet(out)) == 61


def test_only_errors_of_what_is_asked_count(trained, folder, answered):
    out, _ = answered
    good, bad = folder / "benign" / "000.png", folder / "benign" / "broken.png"
    assert predict_files(trained.folder, [good], out) == 0
    assert predict_files(trained.folder, [good, bad, bad], out) == 1


def test_a_cluster_that_stops_answering_is_given_up_and_what_came_is_kept(
    trained, folder, cluster, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(batch, "BATCH", 10)
    monkeypatch.setattr(batch, "PATIENCE_S", 45.0)
    out, stuck = tmp_path / "out", tmp_path / "stuck.png"
    os.mkfifo(stuck)  # whoever reads it waits for ever
    images = [str(path) for path in sorted(folder.rglob("*.png"))[:20]]
    command = ["predict", str(trained.folder), "--ray", "--address", cluster, "--out", str(out), *images]
    assert run([*command, str(stuck)]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "no answer came from the cluster in 45 s" in line
    assert "the same command goes on from there" in line
    kept = [row["path"] for row in rows_of(out)]
    assert set(kept) <= set(images)
    assert kept
    stuck.unlink()
    shutil.copyfile(images[0], stuck)
    assert run([*command, str(stuck)]) == 0
    assert sorted(row["path"] for row in rows_of(out)) == sorted([*images, str(stuck)])


def test_it_goes_on_where_it_was_interrupted(trained, folder, answered, cluster, tmp_path):
    out, _ = answered
    half = tmp_path / "half"
    half.mkdir()
    (half / "part-00000.parquet").write_bytes((out / "part-00000.parquet").read_bytes())
    untouched = (half / "part-00000.parquet").stat().st_mtime_ns
    command = ["predict", str(trained.folder), str(folder), "--ray", "--address", cluster]
    assert run([*command, "--out", str(half)]) == 1  # one is broken
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
