"""Lists of images: each stays as it was shown, until it is asked for anew."""

import pytest

from desks import ask, desk_on
from pictures import write_class_folders
from tellapart.errors import StaleList
from tellapart.studio.lists import MOST_LISTS, Lists
from tellapart.studio.query import Query

BENIGN = Query(label=("benign",))


@pytest.fixture
def desk(tmp_path, fresh_cache):
    """Three benign, numbers 0 to 2, and two malignant."""
    return desk_on(write_class_folders(tmp_path / "photos", {"benign": 3, "malignant": 2}))


def relabel(desk, i, seen, new):
    ask(desk, "write", items=[i], field="label", seen=[seen], new=new)


def test_a_list_stays_until_it_is_asked_for_anew(desk):
    stamp, before = desk.lists.open(BENIGN)
    relabel(desk, 0, "benign", "malignant")
    assert desk.lists.open(BENIGN, stamp) == (stamp, before)
    now, after = desk.lists.open(BENIGN)
    assert (now != stamp, before.tolist(), after.tolist()) == (True, [0, 1, 2], [1, 2])
    assert desk.lists.known(BENIGN, stamp) is before


def test_windows_that_ask_the_same_share_a_list(desk):
    first, second = desk.lists.open(BENIGN), desk.lists.open(BENIGN)
    assert first[0] == second[0]
    assert first[1] is second[1]


def test_what_a_journal_from_elsewhere_says_makes_another_list(desk):
    relabel(desk, 0, "benign", "malignant")
    stamp, _ = desk.lists.open(BENIGN)
    desk.journal.path.unlink()
    relabel(desk, 1, "benign", "malignant")  # again event 1
    now, order = desk.lists.open(BENIGN)
    assert (now != stamp, order.tolist()) == (True, [0, 2])


def test_the_list_looked_at_longest_ago_goes_first(desk):
    first, second = (desk.lists.open(Query(search=text))[0] for text in ("0", "1"))
    for n in range(2, MOST_LISTS):
        desk.lists.open(Query(search=str(n)))
    desk.lists.known(Query(search="0"), first)
    desk.lists.open(Query(search="one more"))
    desk.lists.known(Query(search="0"), first)
    with pytest.raises(StaleList):
        desk.lists.known(Query(search="1"), second)


def test_the_stamp_of_another_studio_is_not_known(desk):
    stamp, _ = Lists(desk.catalog).open(BENIGN)
    desk.lists.open(BENIGN)
    with pytest.raises(StaleList):
        desk.lists.known(BENIGN, stamp)
