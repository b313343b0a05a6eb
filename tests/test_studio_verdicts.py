"""What each reviewer answered, read from the journal while it grows."""

from threading import Thread

import pytest

from desks import ask, desk_on
from pictures import write_class_folders

N = 60


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "data", {"cat": N, "dog": 1}, size=(8, 8))


def test_answers_can_be_asked_for_while_others_come_in(data):
    anna, ben = desk_on(data, actor="anna"), desk_on(data, actor="ben")
    for i in range(N):
        ask(anna, "decide", i=i, answer="cat", seen="cat", apply=False)
    ben.verdicts.refresh()
    trouble, done = [], []

    def look():
        try:
            while not done:
                ben.verdicts.disputes()
                ben.verdicts.first_labels()
                ben.verdicts.by_others("anna")
        except Exception as exc:
            trouble.append(exc)

    threads = [Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(N):
        ask(ben, "decide", i=i, answer="dog", seen="cat", apply=False)
    done.append(True)
    for thread in threads:
        thread.join()
    assert trouble == []
    assert [dispute.i for dispute in ben.verdicts.disputes()] == list(range(N))


def test_who_is_asked_about_and_never_answered_is_no_reviewer(data):
    desk = desk_on(data)
    assert desk.verdicts.answer(0, "nobody") == ""
    assert desk.verdicts.latest("nobody", 5) == []
    assert desk.verdicts.first_labels() == {}
    assert desk.verdicts.disputes() == []
