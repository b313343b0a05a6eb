"""The models that one process serves, and how a new version takes over without a dropped request."""

import asyncio
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from tellapart.bundle import CARD_FILE, MODEL_FILE, Bundle, Card
from tellapart.drift import DriftWindow
from tellapart.errors import BundleError, TellapartError
from tellapart.inference import Classifier
from tellapart.serving.batcher import Batch, Batcher, Pixels, Probabilities, QueueFull
from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One version of one model, with the threads that run it.

    Attributes
    ----------
    version
        Its bundle's.
    drift
        Its latest images beside those it was checked on.
    """

    name: str
    version: str
    classifier: Classifier
    batcher: Batcher
    drift: DriftWindow

    @property
    def card(self) -> Card:
        """The bundle's card."""
        return self.classifier.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.classifier.class_names

    @property
    def size(self) -> int:
        """Edge of the square of pixels that the model takes."""
        return self.card.preprocessing.size

    async def probabilities_of(
        self, images: Iterable[bytes | Pixels]
    ) -> list[Probabilities | TellapartError]:
        """Return probabilities, or what is wrong with the image, for each; all of them or a 503."""
        futures: list[asyncio.Future[Probabilities]] = []
        try:
            # One by one, so that those before a refusal are known and can be cancelled.
            for image in images:
                futures.append(self._submit(image))
            results = await asyncio.gather(*futures, return_exceptions=True)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, TellapartError):
                raise result
        return results  # type: ignore[return-value]  # other exceptions were raised above

    def _submit(self, image: bytes | Pixels) -> "asyncio.Future[Probabilities]":
        try:
            return self.batcher.submit(image)
        except QueueFull:
            raise Problem.busy("too many images wait already; come again later") from None


def find_bundle(path: Path, precision: Literal["fp32", "int8"] | None = None) -> Bundle:
    """Open the bundle that a service should use.

    Raises
    ------
    BundleError
        If there is none, or none of that precision.
    """
    if precision == "int8" and (path / "model-int8" / CARD_FILE).is_file():
        path = path / "model-int8"
    bundle = Bundle.load(path)
    if precision is not None and bundle.card.precision != precision:
        raise BundleError(
            f"the model at {path} is {bundle.card.precision}, not {precision}; "
            f"`tellapart export {path} --precision {precision} --out {path / f'model-{precision}'}` makes one"
        )
    return bundle


class Observer(Protocol):
    """Who is told what the models do."""

    def serving(self, model: ServedModel) -> None:
        """Note that a model answers from now on, in the place of another version if there was one."""

    def batch_done(self, model: ServedModel, batch: Batch) -> None:
        """Note a batch; called from an engine thread."""


class _Nobody:
    def serving(self, model: ServedModel) -> None:
        pass

    def batch_done(self, model: ServedModel, batch: Batch) -> None:
        pass


NOBODY: Observer = _Nobody()


def load_model(name: str, bundle: Bundle, settings: Settings, observer: Observer = NOBODY) -> ServedModel:
    """Open a model, let it answer once, and start its threads.

    Raises
    ------
    BundleError
        If it is damaged or does not answer as its card says.
    """
    classifier = Classifier(bundle)
    try_out(classifier)
    # Once more, after the engine has read it: somebody may be copying a new version over it.
    bundle.check(MODEL_FILE)
    drift = DriftWindow(bundle.card.reference)
    model: ServedModel
    batcher = Batcher(
        functools.partial(classifier.predict_proba, threads=1),
        bundle.card.preprocessing,
        threads=settings.engine_threads,
        max_batch=settings.max_batch,
        max_wait_s=settings.max_wait_ms / 1000,
        queue_size=settings.queue_size,
        max_pixels=settings.max_pixels,
        on_batch=lambda batch: observer.batch_done(model, batch),
    )
    model = ServedModel(name, bundle.version, classifier, batcher, drift)
    return model


def try_out(classifier: Classifier) -> None:
    """Let a model answer once: a damaged graph must fail before the first request, not at it."""
    card = classifier.card
    blank = np.zeros((1, card.preprocessing.size, card.preprocessing.size, 3), np.uint8)
    try:
        y_prob = classifier.predict_proba(blank, threads=1)
    except BundleError:
        raise
    except Exception as exc:  # onnxruntime's own exceptions share no base class
        raise BundleError(f"the model at {classifier.bundle.folder} does not run: {exc}") from exc
    if y_prob.shape != (1, len(card.class_names)) or not np.isfinite(y_prob).all():
        raise BundleError(
            f"the model at {classifier.bundle.folder} does not answer with a probability for each of "
            f"{len(card.class_names)} classes; copy the whole bundle again"
        )


class Models:
    """All models of a service, by name.

    Parameters
    ----------
    settings
        Which, and how they run.
    observer
        Is told what they do.

    Raises
    ------
    BundleError
        If one of them cannot be used.
    """

    def __init__(self, settings: Settings, observer: Observer = NOBODY) -> None:
        self._settings, self._observer = settings, observer
        self._models: dict[str, ServedModel] = {}
        self._retired: set[ServedModel] = set()
        self._reloading = asyncio.Lock()
        try:
            for name, path in settings.models.items():
                self._serve(load_model(name, find_bundle(path, settings.precision), settings, observer))
        except BaseException:
            self.close()
            raise

    def names(self) -> tuple[str, ...]:
        """Return the models' names, the default one first."""
        return tuple(self._models)

    def get(self, name: str | None = None) -> ServedModel:
        """Return a model, the default one without a name.

        Raises
        ------
        Problem
            404 if there is none of that name.
        """
        model = self._models.get(self._settings.default_model if name is None else name)
        if model is None:
            raise Problem(404, f"no model {name!r:.100} here; there is {', '.join(self.names())}")
        return model

    async def reload(self, name: str | None = None) -> dict[str, str]:
        """Look for new versions, of all models or of one, and let them take over.

        Returns
        -------
        Name -> version that now serves.

        Raises
        ------
        BundleError
            If a bundle cannot be used; its old version goes on serving, and the others are reloaded.
        """
        names = self.names() if name is None else (self.get(name).name,)
        failures: list[str] = []
        async with self._reloading:
            for each in names:
                try:
                    await self._reload_one(each)
                except BundleError as exc:
                    failures.append(f"{each}: {exc}; version {self._models[each].version} goes on serving")
        if failures:
            raise BundleError("\n".join(failures))
        return {each: self._models[each].version for each in names}

    async def _reload_one(self, name: str) -> None:
        settings, old = self._settings, self._models[name]
        bundle = await asyncio.to_thread(find_bundle, settings.models[name], settings.precision)
        if bundle.version == old.version and bundle.card == old.card:
            return
        self._serve(await asyncio.to_thread(load_model, name, bundle, settings, self._observer))
        # Requests that began with the old version end with it: it stays for as long as one may take.
        self._retired.add(old)
        asyncio.get_running_loop().call_later(settings.request_timeout_s + 1, self._end, old)

    def _serve(self, model: ServedModel) -> None:
        self._models[model.name] = model
        self._observer.serving(model)

    def _end(self, model: ServedModel) -> None:
        if model in self._retired:
            self._retired.remove(model)
            model.batcher.close()

    def close(self) -> None:
        """Answer what waits and end all threads."""
        for model in (*self._models.values(), *self._retired):
            model.batcher.close()
        self._retired.clear()
