"""The label journal on disk: tampering shows, and who is killed while writing loses nothing that was told."""

import sqlite3
import subprocess
import sys

import pytest

from journals import relabel
from tellapart.data.journal import Journal
from tellapart.data.label_events import JournalError
from tellapart.errors import ConfigError


def tamper(journal: Journal, *statements: str) -> None:
    with sqlite3.connect(journal.path) as connection:
        connection.execute("DROP TRIGGER IF EXISTS no_UPDATE")
        connection.execute("DROP TRIGGER IF EXISTS no_DELETE")
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET new = 'bird' WHERE seq = 2",
        "UPDATE event SET actor = 'ben' WHERE seq = 1",
        "UPDATE event SET at = '2020-01-01T00:00:00.000+00:00' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 1",
        "DELETE FROM event WHERE seq = 2",
        "INSERT INTO event SELECT 4, batch, at, actor, session, source, model, undoes, 'z.png', field, "
        "old, new, given, sha256, why, previous, hash FROM event WHERE seq = 3",
    ],
)
def test_tampering_shows(journal, statement):
    for name in "abc":
        journal.write([relabel(f"{name}.png", "cat", "dog")], actor="anna")
    head = journal.verify()
    assert journal.verify(head[:16]) == head
    tamper(journal, statement)
    with pytest.raises(JournalError, match="not as it was written"):
        journal.verify()


@pytest.mark.parametrize("mends_the_link", [False, True])
def test_a_forger_who_recomputes_a_hash_must_recompute_all_after_it(journal, mends_the_link):
    for name in "abc":
        journal.write([relabel(f"{name}.png", "cat", "dog")], actor="anna")
    forged = journal.events()[0]._replace(new="bird").sealed()
    tamper(journal, f"UPDATE event SET new = 'bird', hash = '{forged.hash}' WHERE seq = 1")
    if mends_the_link:
        tamper(journal, f"UPDATE event SET previous = '{forged.hash}' WHERE seq = 2")
    with pytest.raises(JournalError, match="event 2 is not as it was written"):
        journal.verify()


def test_a_cut_end_shows_against_a_hash_that_was_kept(journal):
    for name in "ab":
        journal.write([relabel(f"{name}.png", "cat", "dog")], actor="anna")
    kept = journal.verify()
    tamper(journal, "DELETE FROM event WHERE seq = 2")
    journal.verify()
    with pytest.raises(JournalError, match="events were cut off"):
        journal.verify(kept)
    with pytest.raises(ConfigError, match="at least its first 8"):
        journal.verify("ab")


def test_events_are_only_ever_added(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    connection = sqlite3.connect(journal.path)
    for statement in ("UPDATE event SET new = 'bird'", "DELETE FROM event"):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            connection.execute(statement)
    connection.close()


WRITER = """
import sys
import tempfile
from tellapart.data.journal import Journal
from tellapart.data.label_events import Change
journal = Journal(sys.argv[1])
for number in range(100_000):
    journal.write([Change(f"{number}.png", "label", "cat", "dog", "cat")], actor="anna")
    print(number, flush=True)
"""


@pytest.mark.parametrize("n_read", [0, 25])
def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(journal, n_read):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(journal.path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(n_read):
        writer.stdout.readline()
    writer.kill()
    acknowledged = n_read + len(writer.communicate()[0].splitlines())
    events = journal.events()
    assert acknowledged <= len(events) <= acknowledged + 1
    journal.verify()
    journal.write([relabel("after.png", "cat", "dog")], actor="ben")
    assert len(journal.events()) == len(events) + 1


HALF_A_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for pragma in ("journal_mode = TRUNCATE", "cache_size = 1"):  # a small cache spills into the file
    connection.execute(f"PRAGMA {pragma}")
connection.execute("BEGIN")
connection.execute("DROP TRIGGER no_UPDATE")
connection.execute("UPDATE event SET new = 'half'")
connection.execute("CREATE TABLE junk AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                   "LIMIT 20000) SELECT i, randomblob(100) AS noise FROM n")
os._exit(9)
"""


def test_a_writer_killed_while_it_writes_is_cleared_up_by_the_next_reader(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    subprocess.run([sys.executable, "-c", HALF_A_WRITER, str(journal.path)], check=False)
    assert journal.path.with_name("labels.sqlite-journal").stat().st_size > 0  # half-written, and hot
    assert [event.new for event in journal.events()] == ["dog"]
    journal.verify()


def test_a_file_whose_first_writer_was_killed_has_no_events(journal):
    journal.path.parent.mkdir()
    journal.path.touch()
    assert journal.events() == []
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    assert len(journal.events()) == 1
