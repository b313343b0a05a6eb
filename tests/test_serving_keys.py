"""Keys: shown once, stored hashed, refused as soon as they are revoked."""

import ast
import inspect
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tellapart.errors import ConfigError, ServiceError
from tellapart.serving import keys as module
from tellapart.serving.keys import Keys


@pytest.fixture
def keys(tmp_path) -> Keys:
    return Keys.open(tmp_path / "keys.json")


def test_a_created_key_is_accepted_and_nothing_else(keys):
    id, key = keys.create()

    assert keys.ids() == (id,)
    assert keys.accepts(key.encode())
    for wrong in (key + " ", key[:-1], key + "x", key.swapcase(), "", id, "Bearer " + key):
        assert not keys.accepts(wrong.encode())
    assert not keys.accepts("schlüssel".encode("latin-1"))


def test_a_rotated_key_dies_at_once_and_the_other_one_lives(keys):
    """Attack 7."""
    _, first = keys.create("first")
    _, second = keys.create("second")
    running = Keys.open(keys.path)

    new = keys.rotate("first")

    assert not running.accepts(first.encode())
    assert running.accepts(new.encode())
    assert running.owner(second.encode()) == "second"
    keys.revoke("second")
    assert not running.accepts(second.encode())
    assert running.ids() == ("first",)


def test_only_hashes_are_stored_where_only_the_owner_reads(keys):
    """Attack 9."""
    _, key = keys.create("phone")

    text = keys.path.read_text()

    assert key not in text
    assert key.removeprefix("ta_") not in text
    assert [set(entry) for entry in json.loads(text)] == [{"id", "sha256", "created"}]
    assert keys.path.stat().st_mode & 0o777 == 0o600


def test_keys_are_compared_in_constant_time():
    """Attack 10: all hashes, and no ``==`` among them."""
    [function] = ast.parse(inspect.getsource(Keys.owner).lstrip().replace("\n    ", "\n")).body
    names = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]

    assert "compare_digest" in names
    assert not any(isinstance(node, ast.Eq | ast.Break) for node in ast.walk(function))
    assert not any(isinstance(node, ast.Return) for loop in loops for node in ast.walk(loop))


def test_a_missing_file_lets_nobody_in(keys):
    _, key = keys.create()
    keys.path.unlink()

    assert not keys.accepts(key.encode())


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '[{"id": "a"}]', '[{"id": "a", "sha256": "zz", "created": ""}]']
)
def test_a_damaged_file_is_told_and_lets_nobody_in(keys, content):
    _, key = keys.create()
    keys.path.write_text(content)

    assert not keys.accepts(key.encode())
    with pytest.raises(ServiceError, match="not a file of keys"):
        Keys.open(keys.path)


def test_mistakes_are_told(keys):
    keys.create("phone")

    with pytest.raises(ServiceError, match="already"):
        keys.create("phone")
    with pytest.raises(ServiceError, match="no key 'pad'; there is phone"):
        keys.revoke("pad")
    with pytest.raises(ServiceError, match="no key"):
        keys.rotate("pad")
    with pytest.raises(ConfigError, match="cannot be a key's name"):
        keys.create("../x")


def test_keys_created_at_once_are_all_kept(keys):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: Keys.open(keys.path).create(f"key-{n}"), range(16)))

    assert set(keys.ids()) == {id for id, _ in made}
    assert all(keys.accepts(key.encode()) for _, key in made)


def test_keys_are_long_and_never_repeat():
    made = {module._new_key() for _ in range(100)}

    assert len(made) == 100
    assert min(map(len, made)) >= 40
