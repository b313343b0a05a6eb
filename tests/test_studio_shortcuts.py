"""Keys as they are shown."""

import pytest

from tellapart.studio.shortcuts import ACTIONS, actions, printed


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("a", "A"),
        ("Shift+ArrowLeft", "Shift+←"),
        ("Ctrl+Shift+z", "Ctrl+Shift+Z"),
        ("g t", "G then T"),
        ("Backspace", "⌫"),
        ("PageUp", "PageUp"),
        ("Space", "Space"),
        ("/", "/"),
        ("+", "+"),
    ],
)
def test_a_key_is_shown_as_it_is_printed_on_it(key, shown):
    assert printed(key) == shown


def test_a_key_of_ones_own_is_shown_in_the_place_of_ours():
    told = actions({"accept": "Ctrl+y"})
    assert told["accept"] == ("Ctrl+y", "Accept the suggestion", "Ctrl+Y")
    assert told.keys() == ACTIONS.keys()
    assert told["keep"] == ("k", "Keep the label", "K")
