"""A threshold that was chosen, found in what services, commands and copies answer."""

import json
import shutil
import sys

import pytest

import tellapart as ta
from desks import ask
from processes import eventually
from servers import running
from tellapart.bundle import Bundle
from tellapart.evaluation.tables import read_predictions
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings
from thresholds import use

# ---- found in the answers --------------------------------------------------------------------------------


def test_a_served_model_answers_by_the_new_threshold_after_a_reload(doubtful_desk, doubtful_lesions, photos):
    import httpx2

    picture = (photos / "malignant" / "003.png").read_bytes()
    with running(create_app(Settings({"lesions": doubtful_lesions}))) as url:

        def answer():
            [said] = httpx2.post(f"{url}/v1/predict", content=picture, timeout=30).json()["predictions"]
            return said

        before = answer()
        p = before["probabilities"]["malignant"]
        assert (before["label"], before["abstained"]) == ("malignant", False)
        use(doubtful_desk, at=min(1.0, p + 1e-6))
        assert answer()["label"] == "malignant"  # until it is told
        assert httpx2.post(f"{url}/v2/repository/models/lesions/load", timeout=30).status_code == 200
        assert answer()["label"] == "benign"
        use(doubtful_desk, at=p / 2, **{"and": 1.0})
        httpx2.post(f"{url}/v2/repository/models/lesions/load", timeout=30)
        said = answer()
        assert (said["label"], said["abstained"]) == ("malignant", True)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are detached by POSIX means")
@pytest.mark.usefixtures("own_deployments")
def test_a_deployment_answers_by_the_new_threshold_after_an_update(doubtful_desk, doubtful_lesions, photos):
    picture = photos / "malignant" / "003.png"
    deployment = ta.deploy(doubtful_lesions, "lesions", auth=False, drain_s=0)
    try:
        p = deployment.score(picture).probabilities["malignant"]
        told = use(doubtful_desk, at=p / 2, **{"and": 1.0})
        assert {
            "where": "a deployment of this model",
            "command": f"tellapart deploy update NAME {doubtful_lesions}",
        } in told["elsewhere"]
        assert deployment.score(picture).abstained is False
        deployment.update(doubtful_lesions)
        # A worker of before may have had the connection already.
        eventually(lambda: deployment.score(picture).abstained)
        assert Bundle.load(deployment.record.copy).card.threshold.chosen_by == "anna"
    finally:
        deployment.delete()


def test_the_command_line_says_where_a_person_is_to_decide(doubtful_desk, doubtful_lesions, photos, capsys):
    from tellapart.cli.app import run as command

    use(doubtful_desk, at=0.0, **{"and": 1.0})
    assert command(["predict", str(doubtful_lesions), str(photos / "malignant" / "003.png")]) == 0
    assert "(a person is to decide)" in capsys.readouterr().out


# ---- bundles, old and new --------------------------------------------------------------------------------


def test_an_older_bundle_is_read_and_chosen_for(doubtful_desk, doubtful_lesions):
    """Format 1 knew neither band nor chooser."""
    from tellapart.bundle import _checksum

    card = doubtful_lesions / "model" / "model.json"
    values = json.loads(card.read_text())
    for name in ("band", "chosen_by", "why", "at"):
        del values["threshold"][name]
    del values["checksum"]
    values["format"] = 1
    values["checksum"] = _checksum(values)
    card.write_text(json.dumps(values))
    assert Bundle.load(doubtful_lesions).card.threshold.band is None
    use(doubtful_desk, at=0.3)
    assert json.loads(card.read_text())["format"] == 2


def test_a_copied_run_keeps_its_choice(doubtful_desk, doubtful_lesions, tmp_path):
    use(doubtful_desk, at=0.3, **{"and": 0.6})
    copy = shutil.copytree(doubtful_lesions / "model", tmp_path / "copy")
    assert ta.load(copy).card.threshold.band == (0.3, 0.6)
    assert "a person is to decide" in (copy / "README.md").read_text()
    metrics = json.loads((doubtful_lesions / "evaluation" / "metrics.json").read_text())
    assert set(metrics["referral"]) == {"sensitivity", "specificity", "ppv", "npv", "referred"}
    assert "a person is to decide" in (doubtful_lesions / "evaluation" / "report.html").read_text()


def test_the_grid_follows_a_new_threshold(doubtful_desk, doubtful_lesions):
    doubtful_desk.arrivals.first_run()
    assert doubtful_desk.catalog.predictions.name == "lesions"
    use(doubtful_desk, at=0.01)
    n_test = len(read_predictions(doubtful_lesions / "evaluation" / "predictions.csv").sample_ids)
    assert ask(doubtful_desk, "items", predicted=["malignant"], start=0, count=1)["total"] == n_test
