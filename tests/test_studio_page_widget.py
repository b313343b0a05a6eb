"""Views as widgets in a bare page: several in one, and a kernel that fails now and then."""

import pytest

from browser import expect
from desks import clinic
from doubtful import doubtful_run
from kernels import MOUNT, Kernel
from tellapart.notebook import esm
from tellapart.studio.opening import Choices, open_desk

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium, window):
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(15_000)
    yield window.tab(context)
    context.close()


def test_two_widgets_share_no_ids(trained, tmp_path, page):
    desk, _ = open_desk(doubtful_run(trained.folder, tmp_path / "runs" / "lesions"), Choices(actor="ada"))
    kernel, views = Kernel(desk), ("threshold", "grid")
    kernel.put_into(page, esm.script(views), esm.styles(views))
    page.evaluate(MOUNT, [esm.script(views), "", {"start": "", "height": 600}])
    expect(page.get_by_role("textbox", name="Why this threshold?")).to_have_count(2)
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map(({ id }) => id)")
    assert len(ids) == len(set(ids))
    page.close()  # first, so that nothing is asked in vain
    kernel.host.close()


def test_pictures_come_again_after_batches_that_failed(tmp_path, page):
    kernel = Kernel(clinic(tmp_path / "clinic"))
    failing, answer = [2], kernel.answer

    def now_and_then(message, patience=20):
        if message["op"] != "thumbs" or not failing[0]:
            return answer(message, patience)
        failing[0] -= 1
        return {"id": message["id"], "status": 500, "answer": '{"error": "thumbs went wrong"}'}, []

    kernel.answer = now_and_then
    kernel.put_into(page, esm.script(("grid",)), esm.styles(("grid",)), height=220)
    expect(page.locator(".cell").first).to_be_visible()
    for size in ("large", "small", "medium"):
        page.get_by_role("button", name=size).click()
    expect(page.locator(".cell img[src^=blob]").first).to_have_js_property("naturalWidth", 160)
    assert failing == [0]
    page.close()  # first, so that nothing is asked in vain
    kernel.host.close()
