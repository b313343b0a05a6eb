"""Images of all requests wait in one queue; threads answer them together."""

import asyncio
import time
from threading import Event

import numpy as np
import pytest

from pictures import encode, solid
from tellapart.data.images import Resize
from tellapart.errors import UnreadableImage
from tellapart.serving.batcher import Batcher, QueueFull

WHITE, BLACK = encode(solid("white")), encode(solid("black"))


def brightness(pixels):
    """Answer with the share of white, as a model of two classes would."""
    white = pixels.mean(axis=(1, 2, 3)) / 255
    return np.stack([white, 1 - white], axis=1)


def batcher(run=brightness, **options) -> Batcher:
    options = {
        "threads": 1,
        "max_batch": 4,
        "max_wait_s": 0.0,
        "queue_size": 8,
        "max_pixels": 10**6,
        **options,
    }
    return Batcher(run, Resize(8), **options)


def test_each_image_gets_its_own_answer():
    async def ask():
        images = [WHITE, BLACK, np.full((8, 8, 3), 255, np.uint8), BLACK]
        return await asyncio.gather(*(subject.submit(image) for image in images))

    subject = batcher(threads=2)
    answers = asyncio.run(ask())
    subject.close()

    assert [answer[0] for answer in answers] == pytest.approx([1, 0, 1, 0])


def test_waiting_images_are_answered_together():
    """What came while a batch ran makes the next one."""
    begun, go, sizes = Event(), Event(), []

    def run(pixels):
        sizes.append(len(pixels))
        begun.set()
        go.wait(5)
        return brightness(pixels)

    async def ask():
        first = subject.submit(WHITE)
        await asyncio.to_thread(begun.wait, 5)
        rest = [subject.submit(BLACK) for _ in range(6)]
        go.set()
        await asyncio.gather(first, *rest)

    subject = batcher(run, max_batch=4)
    asyncio.run(ask())
    subject.close()

    assert sizes == [1, 4, 2]


def test_threads_share_what_waits():
    """Four images on two threads are two and two, not four and none."""
    begun, go, sizes = Event(), Event(), []

    def run(pixels):
        sizes.append(len(pixels))
        if len(sizes) == 2:
            begun.set()
        go.wait(5)
        return brightness(pixels)

    async def ask():
        first = [subject.submit(WHITE), subject.submit(WHITE)]
        await asyncio.to_thread(begun.wait, 5)
        rest = [subject.submit(BLACK) for _ in range(4)]
        go.set()
        await asyncio.gather(*first, *rest)

    subject = batcher(run, threads=2, max_batch=8)
    asyncio.run(ask())
    subject.close()

    assert max(sizes) <= 2


def test_a_thread_waits_for_others_to_join_but_not_for_long():
    sizes = []

    async def ask():
        first = subject.submit(WHITE)
        await asyncio.sleep(0.05)
        second = subject.submit(WHITE)
        await asyncio.gather(first, second)

    subject = batcher(max_wait_s=0.5, max_batch=3, on_batch=lambda batch: sizes.append(len(batch.pixels)))
    started = time.monotonic()
    asyncio.run(ask())
    took_s = time.monotonic() - started
    subject.close()

    assert sizes == [2]
    assert 0.4 < took_s < 2


def test_a_full_queue_refuses_and_recovers():
    """Attack 63."""
    go = Event()

    def run(pixels):
        go.wait(5)
        return brightness(pixels)

    async def ask():
        futures = [subject.submit(WHITE)]
        while len(subject):
            await asyncio.sleep(0.001)
        futures += [subject.submit(WHITE) for _ in range(8)]
        with pytest.raises(QueueFull):
            subject.submit(WHITE)
        go.set()
        await asyncio.gather(*futures)
        return await subject.submit(BLACK)

    subject = batcher(run)
    assert asyncio.run(ask())[0] == pytest.approx(0)
    subject.close()


def test_a_bad_image_harms_no_other():
    async def ask():
        futures = [subject.submit(image) for image in (WHITE, b"no image", WHITE[:60], BLACK)]
        return await asyncio.gather(*futures, return_exceptions=True)

    subject = batcher()
    good, bad, cut, also_good = asyncio.run(ask())
    subject.close()

    assert good[0] == pytest.approx(1)
    assert isinstance(bad, UnreadableImage)
    assert isinstance(cut, UnreadableImage)
    assert also_good[0] == pytest.approx(0)


def test_a_thread_outlives_a_failure_of_the_engine():
    failing = [True]

    def run(pixels):
        if failing.pop():
            raise RuntimeError("the engine failed")
        return brightness(pixels)

    async def ask():
        with pytest.raises(RuntimeError, match="the engine failed"):
            await subject.submit(WHITE)
        failing.append(False)
        return await subject.submit(WHITE)

    subject = batcher(run)
    assert asyncio.run(ask())[0] == pytest.approx(1)
    subject.close()


def test_images_that_nobody_waits_for_are_passed_over():
    begun, go, sizes = Event(), Event(), []

    def run(pixels):
        sizes.append(len(pixels))
        begun.set()
        go.wait(5)
        return brightness(pixels)

    async def ask():
        first = subject.submit(WHITE)
        await asyncio.to_thread(begun.wait, 5)
        gone = [subject.submit(WHITE) for _ in range(3)]
        last = subject.submit(BLACK)
        for future in gone:
            future.cancel()
        go.set()
        await asyncio.gather(first, last)

    subject = batcher(run)
    asyncio.run(ask())
    subject.close()

    assert sizes == [1, 1]


def test_closing_answers_what_waits():
    async def ask():
        futures = [subject.submit(WHITE) for _ in range(6)]
        await asyncio.to_thread(subject.close)
        return await asyncio.gather(*futures)

    def slow(pixels):
        time.sleep(0.02)
        return brightness(pixels)

    subject = batcher(slow, threads=2, max_batch=1)
    assert len(asyncio.run(ask())) == 6


def test_what_waits_is_told_also_after_a_batch_of_bad_images_or_of_none():
    told = []

    async def ask():
        with pytest.raises(UnreadableImage):
            await subject.submit(b"no image")
        while not told:  # the answer comes first, and closing would count as waiting
            await asyncio.sleep(0.001)
        subject.submit(WHITE).cancel()

    subject = batcher(on_batch=lambda batch: told.append((len(batch.pixels), batch.queue_length)))
    asyncio.run(ask())
    subject.close()

    assert told[0] == (0, 0)
