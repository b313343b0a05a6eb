"""What strangers say, made safe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.sources.answers import one_line, web_address


@pytest.mark.parametrize(
    "text", ["file:///etc/passwd", "ftp://a/b", "/etc/passwd", "", "javascript:x", "http:/a"]
)
def test_only_web_addresses_are_followed(text):
    assert web_address(text) is None


@given(st.text())
def test_an_address_is_ascii_and_stays_itself(text):
    address = web_address(f"https://example.org/{text}")
    assert address is not None
    assert address.isascii()
    assert address.isprintable()
    assert " " not in address
    assert web_address(address) == address


@given(st.text() | st.none() | st.integers())
def test_one_line_can_be_printed_and_written(value):
    line = one_line(value)
    assert line.isprintable()
    assert line == line.strip()
    line.encode("utf-8")
