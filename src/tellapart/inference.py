"""A trained classifier over onnxruntime: paths, bytes or pixels in, probabilities out. No torch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import Bundle, Card
from tellapart.data.images import load_pixels
from tellapart.data.reader import Read, chunked, in_parallel, n_cores, read
from tellapart.errors import BundleError, ClassMismatch, EmptyDataset, UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import UNKNOWN, Predictions, Sample, Skipped, decide, refers

if TYPE_CHECKING:
    from tellapart.data.dataset import Dataset

CHUNK = 4
"""Images that one thread reads, decodes and classifies in a row."""

BATCH_SIZE = 2
"""Images per call of onnxruntime: what stays in a core's cache measured fastest, from lite0 to resnet50."""


class Engine:
    """One ONNX graph in onnxruntime, safe to run from several threads at once.

    Parameters
    ----------
    model
        Path of the graph, or its bytes.
    threads
        Threads inside one call. With 1, calls made from several threads run side by side, which gives
        more images per second than one call on several threads.
    """

    def __init__(self, model: Path | bytes, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's own exceptions share no base class
            raise BundleError(f"onnxruntime cannot load {_name(model)}: {exc}") from exc
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run uint8 pixels of shape (n, height, width, 3); return float32 of shape (n, n_outputs)."""
        outputs: list[NDArray[np.float32]] = [
            self._session.run(None, {self._input: pixels[start : start + BATCH_SIZE]})[0]
            for start in range(0, max(1, len(pixels)), BATCH_SIZE)
        ]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """What the classifier says about one image.

    Attributes
    ----------
    source
        The path as it was asked for.
    label, probability
        The decided class and its probability; None where the image could not be read.
    y_prob
        float64 of shape (n_classes,), or None.
    reason
        Why there is no answer, else None.
    abstained
        Whether a person is to decide: the threshold has a band, and the probability lies in it.
    """

    source: str
    label: str | None
    probability: float | None
    y_prob: NDArray[np.float64] | None
    reason: str | None = None
    abstained: bool = False


class Classifier:
    """A model bundle, ready to answer.

    Examples
    --------
    >>> model = Classifier.load("run/model")  # doctest: +SKIP
    >>> model.predict(["a.jpg", "b.png"]).y_prob  # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._engines: dict[int, Engine] = {}
        self._lock = Lock()

    @classmethod
    def load(cls, model: Path | str) -> "Classifier":
        """Open a bundle or a run folder.

        Raises
        ------
        BundleError
            If there is no usable bundle.
        """
        return cls(Bundle.load(model))

    @property
    def card(self) -> Card:
        """The bundle's card."""
        return self.bundle.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.card.class_names

    def predict_proba(self, pixels: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.float64]:
        """Return float64 of shape (n, n_classes) for uint8 RGB pixels of shape (n, size, size, 3)."""
        threads = threads or n_cores()
        with self._lock:
            if threads not in self._engines:
                self._engines[threads] = Engine(self.bundle.model_path, threads=threads)
            engine = self._engines[threads]
        y_prob: NDArray[np.float64] = engine(pixels).astype(np.float64)
        y_prob /= y_prob.sum(axis=1, keepdims=True)
        return y_prob

    def answer(self, image: bytes | Path) -> Answer:
        """Classify one image, by path or by its file's bytes.

        Raises
        ------
        UnreadableImage
            If it cannot be decoded.
        """
        y_prob = self.predict_proba(load_pixels(image, self.card.preprocessing)[None])
        return self._answers([str(image) if isinstance(image, Path) else ""], y_prob)[0]

    def stream(self, paths: Iterable[Path | str]) -> Iterator[Answer]:
        """Yield one answer per path, in order, as they come; unreadable files answer with a reason."""
        samples = (Sample(str(path), Path(path), "") for path in paths)
        for reads, y_prob in in_parallel(self._classify, _batches(samples, CHUNK)):
            good = iter(self._answers([r.sample.id for r in reads if r.reason is None], y_prob))
            for result in reads:
                bad = Answer(result.sample.id, None, None, None, result.reason)
                yield next(good) if result.reason is None else bad

    def predict(self, paths: Sequence[Path | str]) -> Predictions:
        """Classify files; those that cannot be read are in the result's `skipped`.

        Returns
        -------
        Predictions with `y_true` unknown.
        """
        answers = list(self.stream(paths))
        good = [a for a in answers if a.y_prob is not None]
        if not good:
            reason = f", the first: {answers[0].source}: {answers[0].reason}" if answers else ""
            raise UnreadableImage(f"none of the {len(answers)} images can be read{reason}")
        return Predictions(
            sample_ids=tuple(a.source for a in good),
            y_true=np.full(len(good), UNKNOWN, dtype=np.int64),
            y_prob=np.stack([a.y_prob for a in good if a.y_prob is not None]),
            class_names=self.class_names,
            skipped=tuple(Skipped(a.source, a.reason) for a in answers if a.reason is not None),
        )

    def predict_dataset(self, dataset: "Dataset", *, progress: Progress = SILENT) -> Predictions:
        """Classify a labelled dataset.

        Raises
        ------
        ClassMismatch
            If the dataset has a class that the model does not know.
        EmptyDataset
            If no image could be read.
        """
        unknown = [name for name in dataset.class_names if name not in self.class_names]
        if unknown:
            raise ClassMismatch(
                f"the model does not know the class {unknown[0]!r}; it knows {', '.join(self.class_names)}"
            )
        index = {name: i for i, name in enumerate(self.class_names)}
        groups = dict(zip((s.id for s in dataset.samples), dataset.groups or (), strict=False))
        kept: list[Sample] = []
        rows: list[NDArray[np.float64]] = []
        skipped: list[Skipped] = []
        with progress.track("predicting", len(dataset)) as advance:
            for reads, y_prob in in_parallel(self._classify, chunked(dataset.samples, CHUNK)):
                kept += [r.sample for r in reads if r.reason is None]
                skipped += [Skipped(r.sample.id, r.reason) for r in reads if r.reason is not None]
                rows.append(y_prob)
                advance(len(reads))
        if not kept:
            raise EmptyDataset(f"none of the {len(dataset)} images of {dataset.root} can be read")
        return Predictions(
            sample_ids=tuple(sample.id for sample in kept),
            y_true=np.array([index[sample.label] for sample in kept], dtype=np.int64),
            y_prob=np.concatenate(rows),
            class_names=self.class_names,
            groups=tuple(groups[sample.id] for sample in kept) if groups else None,
            skipped=(*dataset.ledger, *skipped),
        )

    def _classify(self, samples: Sequence[Sample]) -> tuple[list[Read], NDArray[np.float64]]:
        reads = [read(sample, self.card.preprocessing) for sample in samples]
        pixels = [r.pixels for r in reads if r.pixels is not None]
        if not pixels:
            return reads, np.empty((0, len(self.class_names)))
        return reads, self.predict_proba(np.stack(pixels), threads=1)

    def _answers(self, sources: Sequence[str], y_prob: NDArray[np.float64]) -> list[Answer]:
        y_pred = decide(y_prob, self.class_names, self.card.threshold)
        return [
            Answer(
                source,
                self.class_names[i],
                float(row[i]),
                row,
                abstained=refers(row, self.class_names, self.card.threshold),
            )
            for source, i, row in zip(sources, y_pred.tolist(), y_prob, strict=True)
        ]


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _name(model: Path | bytes) -> str:
    return "the graph" if isinstance(model, bytes) else str(model)
