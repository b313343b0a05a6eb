"""What `tellapart serve` survives: a long load near saturation, and ten thousand hostile requests.

    python benchmarks/serving_faults.py soak [--minutes 10]
    python benchmarks/serving_faults.py hostile [--requests 10000]

Exits with 1 if the service failed: an error under the soak, an answer of 5xx or a traceback in its log under
the hostile requests, or a right request that was answered otherwise than at the beginning. The fuzzer needs
`schemathesis`, which the development extra brings.
"""

import argparse
import base64
import contextlib
import io
import json
import random
import socket
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
from measure import machine_line, megabytes, table
from PIL import Image
from service import N_PICTURES, OURS, Running, make_model, serving

from tellapart.loadtest.load import measure, rising
from tellapart.loadtest.picture import drawn

QUARTERS = 4
AT_ONCE = 8
BODY_TIMEOUT_S = 10

Answer = tuple[str, int | None]
"""What was sent, and the status that came back; None where the service closed the connection."""

Attack = Callable[["Target", random.Random], int | None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["soak", "hostile"])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--model", type=Path, help="a bundle; default a new ResNet-18")
    options = parser.parse_args()
    print(machine_line("onnxruntime", "numpy", "uvicorn"), end="\n\n")
    pictures = [drawn(seed) for seed in range(N_PICTURES)]
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        model = options.model or make_model(Path(name) / "run", pictures) / "model"
        if options.what == "soak":
            failed = soak(model, pictures, options.minutes)
        else:
            failed = hostile(model, pictures, options.requests)
    raise SystemExit(failed)


# ---- the soak ------------------------------------------------------------------------------------------


def soak(model: Path, pictures: Sequence[bytes], minutes: int) -> int:
    """Print a row a minute at 80 % of saturation; return 1 if there was an error."""
    with serving(OURS, model, pictures) as server:
        best = max(level.throughput for level in rising(server.traffic, (4, 8), duration_s=10))
        print(f"Saturation {best:.1f} answers/s; {0.8 * best:.1f} requests/s at random times.\n")
        rows, n_errors = [["0", "", "", "", "", *standing(server)]], 0
        for minute in range(1, minutes + 1):
            level = measure(server.traffic, 0.8 * best, duration_s=60, is_open=True)
            n_errors += level.n_errors
            latencies = [f"{level.percentile_ms(q) or float('nan'):.1f}" for q in (50, 99)]
            figures = [f"{level.throughput:.1f}", *latencies, str(level.n_errors)]
            rows.append([str(minute), *figures, *standing(server)])
    print(table(("minute", "answers/s", "p50, ms", "p99, ms", "errors", "memory", "open files"), rows))
    return int(n_errors > 0)


def standing(server: Running) -> list[str]:
    """Return memory and open files."""
    return [megabytes(server.memory_bytes()), str(server.n_files())]


# ---- hostile requests ----------------------------------------------------------------------------------


class Target:
    """The service under attack, with its key and what it answers to a right request."""

    def __init__(self, server: Running, key: str, picture: bytes) -> None:
        self.url, self.key, self.picture = server.url, key, picture
        self.address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        self.known = {"Authorization": f"Bearer {key}"}
        self.client = httpx2.Client(base_url=server.url, timeout=60, trust_env=False)
        self.answer = self.right().json()

    def right(self) -> httpx2.Response:
        """Ask as one should."""
        return self.post("/v1/predict", self.picture)

    def post(self, path: str, body: bytes, **headers: str) -> httpx2.Response:
        """Send a body with the key."""
        return self.client.post(path, content=body, headers={**self.known, **headers})

    def raw(self, content: bytes, *, wait_s: float = 20, then_leave: bool = False) -> int | None:
        """Send bytes as they are, and return the status of the answer."""
        with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=wait_s) as wire:
            wire.sendall(content)
            if then_leave:
                return None
            words = wire.recv(4096).split(None, 2)
            return int(words[1]) if len(words) > 1 else None
        return None


def hostile(model: Path, pictures: Sequence[bytes], n_requests: int) -> int:
    """Print what came back by kind of request, and memory and files by quarter; return 1 for a failure."""
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        limits = ["--timeout-s", str(BODY_TIMEOUT_S), "--queue-size", "1000", "--allow-urls"]
        keys = ["--keys", f"{name}/keys.json"]
        key = make_key(Path(name) / "keys.json")
        with serving(OURS, model, pictures, options=[*limits, *keys], key=key) as server:
            target = Target(server, key, pictures[0])
            answers: list[Answer] = []
            rows = [["0", *standing(server)]]
            for quarter in range(QUARTERS):
                answers += attack(target, n_requests // QUARTERS, seed=quarter)
                time.sleep(BODY_TIMEOUT_S + 1)  # what was left hanging is given up by then
                rows.append([str(len(answers)), *standing(server)])
            right = target.right()
            as_before = right.status_code == 200 and right.json() == target.answer
            n_tracebacks = server.log.read_text(errors="replace").count("Traceback")
    statuses = {kind: Counter(status for k, status in answers if k == kind) for kind, _ in answers}
    shown = [[kind, sum(found.values()), listed(found)] for kind, found in statuses.items()]
    print(table(("kind", "requests", "answers"), shown), end="\n\n")
    print(table(("after", "memory", "open files"), rows), end="\n\n")
    n_5xx = sum(status is not None and status >= 500 for _, status in answers)
    print(f"Answers of 5xx: {n_5xx}. Tracebacks in the log: {n_tracebacks}. Right as before: {as_before}.")
    return int(n_5xx > 0 or n_tracebacks > 0 or not as_before)


def make_key(path: Path) -> str:
    """Return a new key, stored in `path`."""
    from tellapart.serving.keys import Keys

    return Keys.open(path).create()[1]


def listed(found: Counter[int | None]) -> str:
    """Return counts by status, the most frequent first."""
    return ", ".join(f"{n} × {status or 'closed'}" for status, n in found.most_common())


def attack(target: Target, n_requests: int, seed: int) -> list[Answer]:
    """Send so many requests of all kinds, several at once, a third of them made up by the fuzzer."""
    fuzzed = list(fuzz(target, n_requests // 3, seed))
    chance = random.Random(seed)
    kinds = [chance.choice(list(ATTACKS)) for _ in range(n_requests - len(fuzzed))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seeds = [chance.randrange(2**32) for _ in kinds]
        statuses = pool.map(lambda kind, s: ATTACKS[kind](target, random.Random(s)), kinds, seeds)
        return [*fuzzed, *zip(kinds, statuses, strict=True)]


def fuzz(target: Target, n_requests: int, seed: int) -> Iterator[Answer]:
    """Send what schemathesis makes of our own OpenAPI document, half of it against the document."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as seeded
    from schemathesis import GenerationMode

    document = schemathesis.openapi.from_url(f"{target.url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    turns = [(o, mode) for o in operations for mode in GenerationMode if "requestBody" in o.definition.raw]
    answers: list[Answer] = []
    for operation, mode in turns:

        @seeded(seed)
        @settings(
            max_examples=-(-n_requests // len(turns)),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            answers.append(("fuzzed", case.call(headers=target.known).status_code))

        ask()
    yield from answers[:n_requests]


def right(target: Target, chance: random.Random) -> int | None:
    """Ask as one should, in between; another answer than at first is a failure."""
    answer = target.right()
    return 599 if answer.status_code == 200 and answer.json() != target.answer else answer.status_code


def truncated(target: Target, chance: random.Random) -> int | None:
    """End the picture somewhere."""
    return target.post("/v1/predict", target.picture[: chance.randrange(len(target.picture))]).status_code


def damaged(target: Target, chance: random.Random) -> int | None:
    """Change a few bytes of the picture."""
    picture = bytearray(target.picture)
    for _ in range(chance.randrange(1, 50)):
        picture[chance.randrange(len(picture))] = chance.randrange(256)
    return target.post("/v1/predict", bytes(picture)).status_code


def bomb(target: Target, chance: random.Random) -> int | None:
    """Claim many pixels, with or without having them, or many scans."""
    kind = chance.choice([0, 1, 2])
    if kind == 0:
        at = target.picture.index(b"\xff\xc0") + 5
        size = struct.pack(">HH", chance.randrange(10_000, 65_500), chance.randrange(10_000, 65_500))
        return target.post("/v1/predict", target.picture[:at] + size + target.picture[at + 4 :]).status_code
    if kind == 1:
        return target.post("/v1/predict", LARGE_PNG).status_code
    scans = target.picture[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00" * 5000 + b"\xff\xd9"
    return target.post("/v1/predict", scans).status_code


def headers(target: Target, chance: random.Random) -> int | None:
    """Send headers larger than any need."""
    value = "x" * chance.choice([17_000, 60_000, 1_000_000])
    name = chance.choice(["Authorization", "X-Long", "Cookie", "Content-Type"])
    lines = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n"
    return target.raw(lines.encode())


def slow(target: Target, chance: random.Random) -> int | None:
    """Promise a body and send a part of it, then wait, or go."""
    lines = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    lines += f"Authorization: Bearer {target.key}\r\nContent-Length: {len(target.picture)}\r\n\r\n"
    part = target.picture[: chance.randrange(len(target.picture))]
    return target.raw(lines.encode() + part, then_leave=chance.random() < 0.9)


def wrong_key(target: Target, chance: random.Random) -> int | None:
    """Use no key, a wrong one, part of the right one, or one that is no text."""
    part = target.key[: chance.randrange(len(target.key))].encode()
    value = chance.choice(
        [b"", b"Bearer ", b"Bearer " + part, b"Bearer " + chance.randbytes(40), b"Basic eDp5"]
    )
    value = bytes(byte for byte in value if byte not in b"\r\n\0")
    lines = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: " + value
    return target.raw(lines + b"\r\nContent-Length: 0\r\n\r\n")


def wrong_type(target: Target, chance: random.Random) -> int | None:
    """Say that the body is something else, or packed, or send other text as JSON."""
    text = json.dumps(chance.choice(ODD_JSON)).encode()
    path = chance.choice(["/v1/predict", "/score", f"/v2/models/{target.answer['model']}/infer"])
    kind = chance.choice(["application/json", "text/html", "multipart/form-data", "image/png", "a/b; c=\\"])
    packing = chance.choice([{}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}])
    body = chance.choice([text, target.picture, b"", chance.randbytes(100), b"[" * 100_000])
    return target.post(path, body, **{"Content-Type": kind, **packing}).status_code


def lying(target: Target, chance: random.Random) -> int | None:
    """Give lengths to the inference protocol that are not so."""
    shape = chance.choice([[1], [0], [-1], [2**62, 2**62], [1, 224, 224, 3], [1e9], "x"])
    size = chance.choice([len(target.picture) + 4, 0, -1, 2**63, "x"])
    tensor = {"name": "image", "shape": shape, "datatype": chance.choice(["BYTES", "UINT8", "FP32"])}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}).encode()
    length = chance.choice([str(len(head)), "0", "-1", "x", "99999999999"])
    body = head + struct.pack("<I", chance.randrange(2**32)) + target.picture
    model = target.answer["model"]
    sent = target.post(f"/v2/models/{model}/infer", body, **{"Inference-Header-Content-Length": length})
    return sent.status_code


def forbidden(target: Target, chance: random.Random) -> int | None:
    """Have it ask this machine, or a metadata service."""
    where = [
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "2130706433",
        "0x7f000001",
        "localhost",
        "10.0.0.1",
        "[::ffff:7f00:1]",
    ]
    scheme = chance.choice(["http", "https", "file", "gopher"])
    url = f"{scheme}://{chance.choice(where)}{chance.choice(['', ':22', f':{target.address[1]}'])}/healthz"
    answer = target.client.post("/v1/predict", json={"images": [{"url": url}]}, headers=target.known)
    if answer.status_code == 200 and "error" not in answer.json()["predictions"][0]:
        return 599
    return answer.status_code


def packed(target: Target, chance: random.Random) -> int | None:
    """Send base64 that is none, or far too much."""
    text = base64.b64encode(target.picture).decode()
    cut = text[: chance.randrange(len(text))] + chance.choice(["", "=", "%", "é"])
    images = [{"base64": cut}] * chance.choice([1, 33, 1000])
    return target.client.post("/v1/predict", json={"images": images[:40]}, headers=target.known).status_code


def large_png() -> bytes:
    """Return a file of some hundred kilobytes that decodes to 300 MB."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((10_000, 10_000), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


LARGE_PNG = large_png()
ODD_JSON = (
    None,
    [],
    {},
    1e308,
    "x",
    {"images": None},
    {"images": [[]]},
    {"images": [{"base64": 1}]},
    [{}],
    [[[]]],
)
ATTACKS: dict[str, Attack] = {
    "right, in between": right,
    "truncated picture": truncated,
    "damaged picture": damaged,
    "bomb": bomb,
    "huge headers": headers,
    "slow or abandoned body": slow,
    "wrong key": wrong_key,
    "wrong type": wrong_type,
    "lengths that lie": lying,
    "forbidden address": forbidden,
    "broken base64": packed,
}


if __name__ == "__main__":
    main()
