"""What Prometheus sees of a service."""

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tellapart.serving.metrics import Metrics


def samples(text: bytes | str) -> dict[tuple[str, ...], float]:
    """Name and label values (in the order of the labels' names) -> value, as Prometheus reads them."""
    text = text if isinstance(text, str) else text.decode()
    return {
        (sample.name.removeprefix("tellapart_"), *dict(sorted(sample.labels.items())).values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_that_is_counted_comes_out():
    counters = Metrics()
    counters.request_done("/v1/predict", 200, 0.04)
    counters.request_done("/v1/predict", 503, 0.001)
    counters.batch_done("lesions", size=2, queue_length=3, seconds=0.02)
    counters.predicted("lesions", "benign", 0.9, abstained=False)
    counters.predicted("lesions", "benign", 0.5, abstained=True)
    counters.image_failed("UnreadableImage")
    counters.drifted("lesions", {"brightness": 0.3})
    found = samples(counters.render()[0])
    assert found["requests_total", "/v1/predict", "200"] == 1
    assert found["errors_total", "/v1/predict", "503"] == 1
    assert ("errors_total", "/v1/predict", "200") not in found
    assert found["request_seconds_count", "/v1/predict"] == 2
    assert (found["batch_size_sum", "lesions"], found["queue_length", "lesions"]) == (2, 3)
    assert found["predictions_total", "benign", "lesions"] == 2
    assert found["abstentions_total", "lesions"] == 1
    assert found["confidence_sum", "lesions"] / found["confidence_count", "lesions"] == pytest.approx(0.7)
    assert found["images_failed_total", "UnreadableImage"] == 1
    assert found["drift", "brightness", "lesions"] == 0.3


def test_one_version_of_a_model_serves_at_a_time():
    counters = Metrics()
    counters.serving("lesions", "one")
    counters.serving("lesions", "two")
    found = samples(counters.render()[0])
    assert (found["model_info", "lesions", "one"], found["model_info", "lesions", "two"]) == (0, 1)


def test_models_do_not_overwrite_each_others_figures():
    counters = Metrics()
    counters.batch_done("busy", 2, 30, 0.02)
    counters.batch_done("idle", 1, 0, 0.01)
    found = samples(counters.render()[0])
    assert (found["queue_length", "busy"], found["queue_length", "idle"]) == (30, 0)
    assert (found["batch_size_sum", "busy"], found["batch_size_sum", "idle"]) == (2, 1)


def test_a_batch_of_bad_images_only_tells_what_waits_still():
    counters = Metrics()
    counters.batch_done("m", 2, 5, 0.02)
    counters.batch_done("m", 0, 0, 0.01)
    found = samples(counters.render()[0])
    assert (found["queue_length", "m"], found["batch_size_count", "m"]) == (0, 1)


def test_a_new_version_has_not_drifted_as_the_one_before():
    counters = Metrics()
    counters.serving("m", "one")
    counters.drifted("m", {"brightness": 0.9})
    counters.drifted("other", {"brightness": 0.2})
    counters.serving("m", "two")
    found = samples(counters.render()[0])
    assert ("drift", "brightness", "m") not in found
    assert found["drift", "brightness", "other"] == 0.2
    counters.drifted("m", {"brightness": 0.1})
    assert samples(counters.render()[0])["drift", "brightness", "m"] == 0.1


def test_a_class_that_has_no_bytes_in_utf8_is_counted():
    counters = Metrics()
    counters.predicted("m", "caf\udce9", 0.9, abstained=False)
    assert samples(counters.render()[0])["predictions_total", "caf?", "m"] == 1


def test_processes_add_up(tmp_path):
    code = """if True:
        from tellapart.serving.metrics import Metrics
        counters = Metrics()
        counters.request_done("/score", 200, 0.01)
        counters.batch_done("m", 1, 2, 0.01)
        counters.drifted("m", {"contrast": DRIFT, "brightness": 0.7})
        if DRIFT == 0.1:
            counters.serving("m", "the next version")
        print(counters.render()[0].decode())
    """
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for drift in ("0.5", "0.1"):
        command = [sys.executable, "-c", code.replace("DRIFT", drift)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = samples(done.stdout)
    assert found["requests_total", "/score", "200"] == 2
    assert found["batch_size_count", "m"] == 2
    # Of those that live still, the worst; of queues the sum. Nobody has told that the first one ended.
    assert (found["drift", "contrast", "m"], found["queue_length", "m"]) == (0.5, 4)
