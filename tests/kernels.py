"""Notebooks for tests: a widget's script in a bare page, its messages answered by a real host."""

import base64
from queue import Empty, SimpleQueue
from typing import Any

from tellapart.notebook.host import Host
from tellapart.studio.desk import Desk

PAGE = "http://127.0.0.1/notebook"
"""Answered by the test itself."""

WIDGETS = [("grid",), ("results", "grid"), ("threshold", "grid"), ("augment",)]
"""The views of each widget, the first of which it shows."""

MOUNT = """
async ([script, styles, state]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: styles }));
  const heard = new Set();
  const model = {
    get: (name) => state[name],
    on: (event, listener) => event === "msg:custom" && heard.add(listener),
    off: (event, listener) => heard.delete(listener),
    async send(message) {
      const answer = await window.kernel(message);
      if (!answer) return;
      const [content, buffers] = answer;
      const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const views = buffers.map((text) => new DataView(bytes(text).buffer));
      for (const listener of heard) listener(content, views);
    },
  };
  const module = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const el = document.body.appendChild(document.createElement("div"));
  window.notebookKeys = [];
  document.addEventListener("keydown", (event) => window.notebookKeys.push(event.key));
  window.takeDown = await module.default.render({ model, el });
  window.listeners = () => heard.size;
}
"""


class Kernel:
    """A host whose answers are waited for, one question at a time.

    Attributes
    ----------
    asked
        The operations that were asked for, in order.
    silent
        Operations that a page in `put_into` asks for in vain.
    """

    def __init__(self, desk: Desk) -> None:
        self.sent: SimpleQueue[tuple[dict[str, Any], list[bytes]]] = SimpleQueue()
        self.host = Host(desk, lambda content, buffers: self.sent.put((content, buffers)))
        self.asked: list[str] = []
        self.silent = {"changes"}

    def ask(self, operation: str, **arguments: Any) -> tuple[dict[str, Any], list[bytes]]:
        """Return what comes back of one question."""
        return self.answer({"id": "1", "op": operation, "args": arguments})

    def answer(self, message: dict[str, Any], patience: float = 20) -> tuple[dict[str, Any], list[bytes]]:
        """Return what comes back of one message, within `patience` seconds."""
        self.asked.append(message["op"])
        self.host.receive(message)
        return self.sent.get(timeout=patience)

    def put_into(self, page: Any, script: str, styles: str, **state: Any) -> None:
        """Show a widget in a page."""

        def answer(message: dict[str, Any]) -> Any:
            if message["op"] in self.silent:
                return None
            content, buffers = self.answer(message)
            return [content, [base64.b64encode(buffer).decode() for buffer in buffers]]

        html = "<!doctype html><html lang=en><title>Notebook</title><main></main>"
        page.route(PAGE, lambda route: route.fulfill(body=html, content_type="text/html"))
        page.expose_function("kernel", answer)
        page.goto(PAGE)
        page.evaluate(MOUNT, [script, styles, {"start": "", "height": 600, **state}])

    def is_silent(self, seconds: float) -> bool:
        """Return whether nothing comes for so long."""
        try:
            self.sent.get(timeout=seconds)
        except Empty:
            return True
        return False
