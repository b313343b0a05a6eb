"""Kappa, its interval, and where it is not defined: against published examples and many samples."""

import numpy as np
import pytest

from tellapart.studio.agreement import cohen, fleiss


def table(counts: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [pair for pair, n in counts.items() for _ in range(n)]


def test_cohens_kappa_and_its_interval_are_those_of_a_published_example():
    """Fleiss, Levin and Paik, "Statistical methods for rates and proportions", 3rd ed., table 18.1."""
    answers = table(
        {
            ("psychotic", "psychotic"): 75, ("psychotic", "neurotic"): 1, ("psychotic", "organic"): 4,
            ("neurotic", "psychotic"): 5, ("neurotic", "neurotic"): 4, ("neurotic", "organic"): 1,
            ("organic", "psychotic"): 0, ("organic", "neurotic"): 0, ("organic", "organic"): 10,
        }
    )  # fmt: skip
    found = cohen(answers)
    assert found.kappa == pytest.approx(0.676, abs=5e-4)
    assert (found.ci95[1] - found.ci95[0]) / 2 / 1.96 == pytest.approx(0.088, abs=5e-4)  # standard error


def test_the_interval_of_cohens_kappa_covers_what_many_samples_give():
    rng = np.random.default_rng(1)
    share = {("a", "a"): 0.5, ("a", "b"): 0.1, ("b", "a"): 0.1, ("b", "b"): 0.3}
    chance = 0.6 * 0.6 + 0.4 * 0.4
    true = (0.8 - chance) / (1 - chance)
    covered = 0
    for _ in range(400):
        counts = dict(zip(share, rng.multinomial(150, list(share.values())).tolist(), strict=True))
        low, high = cohen(table(counts)).ci95
        covered += low <= true <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_kappa_where_all_agree_has_an_honest_lower_limit():
    few, many = cohen([("a", "a"), ("b", "b")] * 3), cohen([("a", "a"), ("b", "b")] * 100)
    assert few.kappa == many.kappa == 1
    assert few.ci95[0] < 0.2 < 0.9 < many.ci95[0]
    assert fleiss([("a",) * 3, ("b",) * 3] * 3).ci95[0] < 0.2


@pytest.mark.parametrize("answers", [[], [("a", "a")] * 4])
def test_kappa_is_not_defined_without_two_answers_that_differ(answers):
    assert cohen(answers).kappa is None
    assert fleiss(answers).kappa is None


def test_fleiss_kappa_is_that_of_his_example():
    """Fleiss 1971 as told in the literature: 10 subjects, 14 raters, 5 categories, kappa 0.210."""
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    answers = [tuple("abcde"[k] for k, n in enumerate(row) for _ in range(n)) for row in counts]
    found = fleiss(answers)
    assert found.kappa == pytest.approx(0.210, abs=5e-4)
    assert found.ci95[0] < 0.210 < found.ci95[1]
