"""The log: one JSON object per line, and nothing in it that should not leave the service."""

import io
import json
import logging

import pytest

from processes import eventually, serving
from tellapart.serving import logs


@pytest.fixture
def written():
    """The lines that were logged so far, parsed."""
    stream = io.StringIO()
    logs.configure(stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def request_done(**changes):
    line = {
        "request_id": "r1", "method": "POST", "path": "/v1/predict", "route": "/v1/predict",
        "status": 200, "seconds": 0.0123, "client": "127.0.0.1",
    }  # fmt: skip
    logs.request_done(**{**line, **changes})


def test_a_request_is_one_line_of_json(written):
    request_done()
    (line,) = written()
    assert line["time"].endswith("+00:00")
    del line["time"], line["pid"]
    assert line == {
        "level": "info", "event": "request", "request_id": "r1", "method": "POST", "path": "/v1/predict",
        "route": "/v1/predict", "status": 200, "ms": 12.3, "client": "127.0.0.1",
    }  # fmt: skip


def test_a_line_cannot_be_forged_nor_grow_without_end(written):
    request_done(path='/x\n{"event": "request", "status": 200}\r\u2028' + "y" * 10_000, method="M" * 10_000)
    (line,) = written()
    assert line["path"].startswith("/x\n{")
    assert len(line["path"]) == logs.MAX_PATH
    assert len(line["method"]) < 20


def test_other_parts_and_their_tracebacks_come_in_the_same_form(written):
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("tellapart.serving.guard").exception("request %s failed", "r2")
    logging.getLogger("uvicorn.error").info("chatter")
    logs.event("ready", url="http://127.0.0.1:1", workers=2)
    failed, ready = written()
    assert (failed["level"], failed["event"]) == ("error", "request r2 failed")
    assert "ValueError: no" in failed["traceback"]
    assert (ready["event"], ready["url"], ready["workers"]) == ("ready", "http://127.0.0.1:1", 2)


def test_keys_images_and_queries_stay_out_of_a_services_log(trained, photos, tmp_path):
    """Attack 8."""
    import base64

    import httpx2

    image = (photos / "benign" / "000.png").read_bytes()
    encoded = base64.b64encode(image).decode()
    arguments = (trained.folder, "--keys", tmp_path / "keys.json", "--new-key")
    with serving(tmp_path / "log", *arguments) as service:
        key = service.printed.split("key ")[1].split(": ")[1].splitlines()[0]
        for given in (key, key[:-1], "wrong-secret"):
            httpx2.post(
                f"{service.url}/v1/predict",
                params={"url": "http://secret.example/patient-17.jpg"},
                json={"images": [{"base64": encoded}]},
                headers={"Authorization": f"Bearer {given}", "X-Request-ID": "mine-1"},
            )
        eventually(lambda: len(service.events("request")) == 3)  # a line follows its answer
        statuses = [line["status"] for line in service.events("request")]
        assert {line["request_id"] for line in service.events("request")} == {"mine-1"}
        text = service.log.read_text()
    assert statuses[1:] == [401, 401]
    for secret in (key[:-1], "wrong-secret", encoded[:40], "patient-17", "secret.example"):
        assert secret not in text
