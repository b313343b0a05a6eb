import pytest

from browser import check_accessible, check_reflows, expect, opened, shoot
from pictures import write_class_folders

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    data = write_class_folders(tmp_path_factory.mktemp("data") / "photos", {"cup": 5, "plate": 5})
    with opened(data) as studio:
        yield studio


def sources(page):
    return page.locator(".variants img").evaluate_all("nodes => nodes.map((node) => node.src)")


def drawn(page, n):
    expect(page.locator(".variants img")).to_have_count(n, timeout=60_000)
    expect(page.locator(".augmented[aria-busy]")).to_have_count(0)


def test_variants_stand_beside_their_originals(studio, window):
    page = window(studio, "/augment")
    drawn(page, 6 * 9)
    expect(page.get_by_text("At 240 × 240 pixels")).to_be_visible()
    page.get_by_role("combobox", name="beside").select_option("strong")
    drawn(page, 6 * 18)
    assert "other=strong" in page.url
    shoot(page, "augmentation")
    before = sources(page)
    page.get_by_role("button", name="Other variants").press("Enter")
    expect(page.locator(".variants img").nth(1)).not_to_have_attribute("src", before[1])
    after = sources(page)
    assert after[0] == before[0]  # the original


def test_images_are_chosen_by_name_or_drawn_anew(studio, window):
    page = window(studio, "/augment?policy=none")
    drawn(page, 6 * 9)
    names = page.locator(".augmented h2").all_inner_texts()
    page.get_by_role("button", name="Other images").click()
    expect(page.locator(".augmented h2")).not_to_have_text(names)
    page.get_by_placeholder("part of a name").fill("plate/00")
    page.get_by_role("button", name="Show").press("Enter")
    drawn(page, 5 * 9)
    assert "items=" in page.url
    assert len(set(sources(page))) == 5  # the policy leaves each picture as it is


def test_without_torch_the_view_says_what_to_install(studio, window, monkeypatch):
    from tellapart.studio import augmentations

    monkeypatch.setattr(augmentations, "_loading", [])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    window.expected.append("status of 400")
    page = window(studio, "/augment")
    expect(page.get_by_role("alert")).to_contain_text("pip install 'tellapart[train]'")


def test_the_view_is_accessible_and_fits_a_narrow_window(studio, window):
    page = window(studio, "/augment?other=light")
    drawn(page, 6 * 18)
    check_accessible(page)
    check_reflows(page)
