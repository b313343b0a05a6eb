"""JSON documents: what is read is bounded, what is written every client can read."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.errors import DataError
from tellapart.serving.documents import decode_base64, parse, write

HALVES = st.characters(categories=["Cs"])
"""Half surrogate pairs: JSON can write them, as in "\\ud800", and UTF-8 cannot."""

TEXTS = st.text(HALVES | st.characters())
VALUES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_whatever_came_in_as_json_can_go_out_as_utf8(value):
    came = parse(json.dumps(value).encode())
    json.loads(write(came).decode())


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whole_characters_come_out_as_they_are(text):
    assert json.loads(write({"name": text})) == {"name": text}


@pytest.mark.parametrize(("text", "says"), [
    (b"[" * 90_000, "nested too deeply"),
    (b"[" + b"1," * 200_000 + b"1]", "more than 100,000 values in JSON; ask for less"),
    (b"{", "not JSON"),
    (b"\xff", "not JSON"),
])  # fmt: skip
def test_what_is_no_document_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        parse(text)


@given(st.binary())
def test_base64_is_read_in_all_its_dresses(content):
    text = base64.b64encode(content).decode()
    lines = base64.encodebytes(content).decode()
    for dressed in (text, text.encode(), lines, f"data:image/png;base64,{text}"):
        assert decode_base64(dressed) == content


@pytest.mark.parametrize("text", ["!", "QQ", "QQ==QQ==", "ä", "\ud800", "data:image/png,QQ==", b"\xff\xfe"])
def test_other_text_is_not_base64(text):
    with pytest.raises(DataError, match="base64"):
        decode_base64(text)
