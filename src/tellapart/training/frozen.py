"""Features mode: a frozen network, its features kept, and a linear head on top."""

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.data.survey import CHUNK
from tellapart.evaluation.calibration import softmax
from tellapart.progress import SILENT, Progress
from tellapart.training.config import TrainConfig
from tellapart.training.device import device_name
from tellapart.training.features import (
    Features,
    Featurizer,
    cached_network_file,
    featurise,
    graph_featurizer,
    network_key,
)
from tellapart.training.fitted import Choices, choose, evenly
from tellapart.training.heads import LinearHead, fit_head

if TYPE_CHECKING:
    import onnx

    from tellapart.training.network import Network


GPU_CHUNK = 64
"""Images per call on a GPU, which small calls would leave idle."""

N_REFERENCE = 64
"""Images that go through torch as well: as many as an export is compared on."""


class FrozenNetwork:
    """The pretrained network under every head of a run, built only when needed.

    Importing torch and building the network takes seconds. Its exported graph and its weights are kept
    on this machine, and so are the features that torch itself gives of the images on which an export is
    checked; a second run on the same images needs no torch at all.
    """

    def __init__(self, config: TrainConfig, resize: Resize) -> None:
        self.config, self.resize = config, resize
        self.key = network_key(config, resize.size)
        self._lock = Lock()
        self._network: Network | None = None

    def network(self) -> "Network":
        """Return the torch network; the first call takes seconds."""
        with self._lock:
            self._network = self._network or self._build()
            return self._network

    def graph(self) -> bytes:
        """Return the ONNX featurizer."""
        return cached_network_file(f"{self.key}.onnx", self._export)

    def body_weights(self) -> bytes:
        """Return the weights without a head, as safetensors."""
        return cached_network_file(f"{self.key}.safetensors", self._save_body)

    def torch_features(self, dataset: Dataset) -> tuple[Dataset, Features]:
        """Return the readable images and the features that torch itself gives of them, on the CPU."""

        def by_torch(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            from tellapart.training.network import on_device

            return on_device(self.network(), "cpu")(pixels)

        return featurise(dataset, by_torch, self.resize, f"{self.key}-torch", chunk_size=8, workers=1)

    def _build(self) -> "Network":
        from tellapart.training.network import create_network

        return create_network(
            self.config.backbone,
            weights=self.config.weights,
            n_classes=2,  # its own head is never used
            image_size=self.resize.size,
            seed=self.config.seed,
        ).eval()

    def _export(self) -> bytes:
        from tellapart.training.export import featurizer_onnx

        content: bytes = featurizer_onnx(self.network()).SerializeToString()
        return content

    def _save_body(self) -> bytes:
        from safetensors.torch import save

        state = self.network().state_dict()
        return save({key: value.contiguous() for key, value in state.items() if not key.startswith("head.")})


class FrozenLearner:
    """Trains heads on features that are computed once."""

    needs_val = False

    def __init__(
        self, config: TrainConfig, resize: Resize, progress: Progress = SILENT, *, will_export: bool = True
    ) -> None:
        self.config, self.resize, self.progress = config, resize, progress
        self.will_export = will_export
        self._features: Features | None = None
        self._frozen: FrozenNetwork | None = None
        self._witnesses: Dataset | None = None
        self._reference: Future[tuple[Dataset, Features]] | None = None

    def prepare(self, dataset: Dataset) -> Dataset:
        """Compute the features of all images; no label is used, so test images may be among them."""
        self._frozen = FrozenNetwork(self.config, self.resize)
        on_cpu = device_name(self.config) == "cpu"
        dataset, self._features = featurise(
            dataset,
            self._featurizer(),
            self.resize,
            self._frozen.key,
            chunk_size=CHUNK if on_cpu else GPU_CHUNK,
            workers=self.config.workers,
            progress=self.progress,
        )
        self._witnesses = evenly(dataset, N_REFERENCE)
        return dataset

    def learn(self, train: Dataset, val: Dataset | None, name: str) -> "FrozenFitted":
        """Fit the head; choose temperature and threshold on `val`, else out of fold."""
        assert self._features is not None
        assert self._frozen is not None
        assert self._witnesses is not None
        if self.will_export and self._reference is None:
            # Importing torch takes seconds; the images that will prove the export go through it while the
            # head is fitted. (Beside the features' pass it would only slow that down: every core is busy.)
            pool = ThreadPoolExecutor(1, thread_name_prefix="reference")
            self._reference = pool.submit(self._frozen.torch_features, self._witnesses)
            pool.shutdown(wait=False)
        fitted = fit_head(
            self._features.of(train),
            train.targets,
            kind=self.config.head,
            balance=self.config.balance,
            groups=[str(tie) for tie in train.tied()],
            n_classes=len(train.class_names),
            seed=self.config.seed,
        )
        if val is None:
            choices = choose(fitted.oof_logits, train, self.config, "out-of-fold")
        else:
            choices = choose(_logits(fitted.head, self._features.of(val)), val, self.config, "validation")
        return FrozenFitted(
            fitted.head, choices, self._features, self._frozen, self._reference, details=fitted.chosen
        )

    def _featurizer(self) -> Featurizer:
        assert self._frozen is not None
        if device_name(self.config) == "cpu":
            return graph_featurizer(self._frozen.graph())
        from tellapart.training.network import on_device

        # A copy, because the network itself gives the reference features on the CPU.
        return on_device(copy.deepcopy(self._frozen.network()), "cuda")


@dataclass(eq=False)
class FrozenFitted:
    """A linear head over kept features."""

    head: LinearHead
    choices: Choices
    features: Features
    frozen: FrozenNetwork
    reference: Future[tuple[Dataset, Features]] | None
    details: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()

    def logits(self, dataset: Dataset) -> NDArray[np.float64]:
        """See `Fitted.logits`."""
        return _logits(self.head, self.features.of(dataset))

    def weights(self) -> bytes:
        """See `Fitted.weights`."""
        from safetensors.numpy import load, save

        state = load(self.frozen.body_weights())
        return save({**state, "head.weight": self.head.weight, "head.bias": self.head.bias})

    def witness(self, dataset: Dataset, n_images: int) -> tuple[Dataset, NDArray[np.float64]]:
        """See `Fitted.witness`."""
        if self.reference is None:
            images, features = self.frozen.torch_features(evenly(dataset, n_images))
        else:
            images, features = self.reference.result()
        return images, softmax(_logits(self.head, features.of(images)), self.choices.temperature)

    def graph(self, class_names: Sequence[str]) -> "onnx.ModelProto":
        """See `Fitted.graph`."""
        import onnx

        from tellapart.training.graph import attach_head

        featurizer = onnx.load_from_string(self.frozen.graph())
        return attach_head(
            featurizer, self.head.weight, self.head.bias, self.choices.temperature, class_names
        )


def _logits(head: LinearHead, features: NDArray[np.float32]) -> NDArray[np.float64]:
    return (features @ head.weight.T + head.bias).astype(np.float64)
