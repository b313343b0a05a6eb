import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tellapart.errors import ConfigError
from tellapart.progress import ProgressFile
from tellapart.studio import jobs as module
from tellapart.studio.jobs import Job, Jobs, place_of
from tellapart.studio.pace import pace

WORKER = """
import os, signal, sys, time
from pathlib import Path
how, made = sys.argv[1:]
if how == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
print("at work", flush=True)
if how in ("long", "stubborn"):
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise SystemExit(130)
if how == "bad":
    sys.exit("error: there is nothing to train on")
Path(made).write_text("made")
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Jobs run this instead of tellapart: quickly done, long, stubborn or bad."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, str(script)))
    return script


@pytest.fixture
def jobs(tmp_path, worker):
    jobs = Jobs(tmp_path / "runs", tmp_path / "elsewhere")
    yield jobs
    for job in jobs.all():
        job.process.kill_group()


def start(jobs, how, name="one", kind="train"):
    folder = jobs.places[0] / name
    return jobs.start(kind, (how, str(folder / "made")), folder, folder / "made", actor="ada")


def until(condition, limit_s=20):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_runs_and_is_done_when_it_has_made_its_file(jobs):
    job = start(jobs, "quick")
    until(lambda: job.state != "running")
    assert job.state == "done"
    assert job.log() == ["at work"]
    assert job.failure() == ""
    assert Job.find(job.folder) == job
    assert job.to_json()["command"].startswith("tellapart quick ")


def test_a_job_that_fails_tells_why_in_its_own_words(jobs):
    job = start(jobs, "bad")
    until(lambda: job.state != "running")
    assert (job.state, job.failure()) == ("failed", "there is nothing to train on")


def test_a_job_that_is_killed_is_not_told_by_what_an_earlier_one_said(jobs):
    first = start(jobs, "bad")
    until(lambda: first.state != "running")
    again = start(jobs, "long")
    until(lambda: again.log())
    os.kill(again.pid, signal.SIGKILL)
    until(lambda: again.state != "running")
    assert again.log() == ["at work"]
    assert "killed" in again.failure()
    assert again.failure().endswith("; its last words: at work")


def test_an_old_result_does_not_make_a_failed_job_done(jobs):
    done = start(jobs, "quick")
    until(lambda: done.state == "done")
    again = start(jobs, "bad")
    until(lambda: again.state != "running")
    assert again.state == "failed"


def test_one_job_of_a_kind_at_a_time(jobs):
    start(jobs, "long")
    with pytest.raises(ConfigError, match="one is still running, started by ada"):
        start(jobs, "quick", "two")
    assert not (jobs.places[0] / "two").exists()
    check = start(jobs, "quick", "three", kind="check")
    until(lambda: check.state == "done")
    assert [job.folder.name for job in jobs.all()] == ["three", "one"]


def test_a_job_is_asked_to_end(jobs):
    job = start(jobs, "long")
    until(lambda: job.log())
    jobs.stop(job, "bob")
    until(lambda: job.state != "running")
    stopped = Job.find(job.folder)
    assert (stopped.state, stopped.stopped_by) == ("stopped", "bob")
    assert job.log() == ["at work", "interrupted"]
    assert jobs.stop(stopped, "carl").stopped_by == "bob"


def test_a_job_that_will_not_end_is_ended(jobs, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    job = start(jobs, "stubborn")
    until(lambda: job.log())
    jobs.stop(job, "bob")
    until(lambda: job.state != "running")
    assert Job.find(job.folder).state == "stopped"


def test_jobs_outlive_a_studio_that_is_killed_and_are_found_again(jobs, tmp_path, worker):
    code = f"""
import os, signal
from pathlib import Path
from tellapart.studio import jobs
jobs.PROGRAM = {module.PROGRAM!r}
runs = Path({str(jobs.places[0])!r})
jobs.Jobs(runs).start("train", ("long", "x"), runs / "one", runs / "one" / "x", actor="ada")
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    found = jobs.running("train")
    assert (found.folder.name, found.actor) == ("one", "ada")
    until(lambda: found.log())
    jobs.stop(found, "bob")
    until(lambda: found.state != "running")
    assert jobs.all()[0].state == "stopped"


def test_another_process_with_the_same_number_is_not_believed(jobs):
    job = start(jobs, "quick")
    until(lambda: job.state == "done")
    record = job.folder / module.RECORD
    values = json.loads(record.read_text())
    # This very process lives, but was not born when the job was.
    record.write_text(json.dumps({**values, "pid": os.getpid()}))
    assert Job.find(job.folder).state == "done"
    assert jobs.running("train") is None


def test_a_damaged_record_is_no_job(jobs):
    folder = jobs.places[0] / "odd"
    folder.mkdir(parents=True)
    (folder / module.RECORD).write_text('{"pid":')
    assert Job.find(folder) is None
    assert jobs.all() == []


def test_progress_is_read_from_the_file_that_the_work_writes(jobs):
    job = start(jobs, "quick")
    assert job.stages() == []
    with ProgressFile(job.folder / module.PROGRESS).track("features", 40) as advance:
        advance(10)
        time.sleep(0.3)
        advance(10)
        (stage,) = job.stages()
        assert (stage["description"], stage["unit"], stage["total"], stage["done"]) == (
            "features", "image", 40, 20,
        )  # fmt: skip
    paced = pace(job.stages())
    assert paced["rate"] == pytest.approx(20 / stage["seconds"], rel=0.5)
    assert paced["left_s"] == pytest.approx(20 / paced["rate"])


def test_pace_is_not_known_before_the_first_image():
    assert pace([]) == {"stages": [], "rate": None, "left_s": None}
    stage = {"description": "reading", "unit": "image", "total": 5, "done": 0, "seconds": 0.0}
    assert pace([stage])["left_s"] is None


def test_data_in_different_places_have_different_checks(tmp_path, own_cache):
    assert place_of(tmp_path / "a") != place_of(tmp_path / "b")
    assert place_of(tmp_path / "a").is_relative_to(own_cache)
