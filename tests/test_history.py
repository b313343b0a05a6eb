import json
import sys

import pytest

from tellapart.errors import MissingExtra
from tellapart.training.history import History


def row(epoch, val_loss):
    return {"epoch": epoch, "val_loss": val_loss}


def test_every_epoch_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "run" / "history.jsonl"
    with History(path) as history:
        for epoch, val_loss in [(1, 0.5), (2, 0.25)]:
            history.add(row(epoch, val_loss))
            assert [json.loads(line) for line in path.read_text().splitlines()] == history.rows


def test_going_on_writes_the_known_epochs_anew(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    with History(path, [row(1, 0.5)]) as history:
        history.add(row(2, 0.4))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [row(1, 0.5), row(2, 0.4)]


def test_the_best_epoch_is_the_first_with_the_lowest_loss(tmp_path):
    history = History(tmp_path / "history.jsonl")
    assert history.best_epoch == 0
    for epoch, val_loss in enumerate([0.9, 0.3, 0.5, 0.3], start=1):
        history.add(row(epoch, val_loss))

    assert history.best_epoch == 2
    assert history.is_stale(2)
    assert not history.is_stale(3)
    assert not history.is_stale(None)


def test_tensorboard_gets_every_figure(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with History(tmp_path / "history.jsonl", tensorboard=tmp_path / "events") as history:
        history.add(row(1, 0.5))
        history.add(row(2, 0.25))
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("val_loss")] == [(1, 0.5), (2, 0.25)]


def test_without_tensorboard_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tellapart\[tensorboard\]'"):
        History(tmp_path / "history.jsonl", tensorboard=tmp_path / "events")
