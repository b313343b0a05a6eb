"""Names of licences."""

import pytest

from tellapart.errors import ConfigError
from tellapart.sources.licences import licence_name


@pytest.mark.parametrize(("written", "name"), [("cc0", "CC-0"), (" cc-by ", "CC-BY"), ("PDM", "PDM")])
def test_licences_may_be_written_in_any_case(written, name):
    assert licence_name(written) == name


def test_an_unknown_licence_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no licence is called 'GPL'; accepted: CC-0, PDM"):
        licence_name("GPL")
