"""A log that several processes write to and that stays short."""

import subprocess
import sys

from tellapart.deploy import logfile
from tellapart.deploy.logfile import last_lines, trim


def test_a_short_log_is_left_alone(tmp_path):
    log = tmp_path / "service.log"
    log.write_text("one\ntwo\n")
    trim(log)
    assert log.read_text() == "one\ntwo\n"
    trim(tmp_path / "none yet")


def test_a_long_one_is_set_aside_and_its_writers_go_on_at_the_beginning(tmp_path, monkeypatch):
    log = tmp_path / "service.log"
    monkeypatch.setattr(logfile, "MAX_BYTES", 20)
    with log.open("a") as file:
        file.write("what was said before\n")
        file.flush()
        trim(log)
        file.write("and after\n")
    assert log.read_text() == "and after\n"
    assert (tmp_path / "service.log.1").read_text() == "what was said before\n"
    assert last_lines(log, 5) == ["what was said before", "and after"]
    assert last_lines(log, 1) == ["and after"]


def test_several_may_look_at_once(tmp_path):
    log = tmp_path / "service.log"
    log.write_text("x" * 99 + "\n" * (logfile.MAX_BYTES + 1))
    code = "import pathlib, sys, tellapart.deploy.logfile as logfile; logfile.trim(pathlib.Path(sys.argv[1]))"
    lookers = [subprocess.Popen([sys.executable, "-c", code, str(log)]) for _ in range(3)]
    assert [looker.wait(60) for looker in lookers] == [0, 0, 0]
    assert log.read_text() == ""
    assert (tmp_path / "service.log.1").stat().st_size > logfile.MAX_BYTES


def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path):
    assert last_lines(tmp_path / "service.log", 5) == []
