"""What the folder of a class is called, and which classes cannot be told by it."""

import pytest

from tellapart.errors import ConfigError
from tellapart.sources.class_folder import check_distinct, folder_name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Basal cell carcinoma", "Basal cell carcinoma"),
        ("Müll", "Müll"),
        ("a/b\\c:d", "a_b_c_d"),
        ("..", "_"),
        (".hidden", "hidden"),
        ("wide\u3000space", "wide_space"),
        ("\ud800", "_"),
        ("ä" * 80, "ä" * 50),
        ("", "_"),
        ("etc. ", "etc"),
        ("tab\there", "tab_here"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_folder_is_called_like_its_class_where_that_is_possible(label, name):
    assert folder_name(label) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        ("caf\u00e9", "cafe\u0301"),
        ("a/b", "a:b"),
        ("a/b", "a_b"),
        ("etc.", "etc"),
        ("x" * 100 + "1", "x" * 100 + "2"),
        ("licences", "Licences_"),
    ],
)
def test_classes_that_would_share_a_folder_are_named(one, other):
    with pytest.raises(ConfigError, match="would be one folder"):
        check_distinct(["ant", one, other])


def test_a_class_of_a_paper_s_name_has_a_folder_of_its_own():
    check_distinct(["licences", "README.md", "ant"])
