"""Fine-tune mode: the whole network learns, and validation images choose the epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.progress import SILENT, Progress
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Choices, choose, evenly
from tellapart.training.frozen import FrozenLearner

if TYPE_CHECKING:
    import onnx

    from tellapart.training.network import Network


class TunedLearner:
    """Fine-tunes one network per call of `learn`."""

    needs_val = True

    def __init__(
        self, config: TrainConfig, resize: Resize, out: Path, *, resume: bool, progress: Progress = SILENT
    ) -> None:
        self.config, self.resize, self.out, self.resume, self.progress = config, resize, out, resume, progress

    def prepare(self, dataset: Dataset) -> Dataset:
        """Decode every file once, so that a bad one cannot stop an epoch."""
        if self.config.near_duplicates:  # the same pass, for whoever splits
            dataset = dataset.with_near_duplicates(progress=self.progress)
        return dataset.verified(progress=self.progress)

    def learn(self, train: Dataset, val: Dataset | None, name: str) -> "TunedFitted":
        """Fine-tune; temperature and threshold are chosen on `val`."""
        from tellapart.training.finetune import finetune
        from tellapart.training.network import create_network

        assert val is not None
        config = self.config
        if name and config.tensorboard is not None:  # the folds' curves go side by side
            config = replace(config, tensorboard=config.tensorboard / name)
        network = create_network(
            self.config.backbone,
            weights=self.config.weights,
            n_classes=len(train.class_names),
            image_size=self.resize.size,
            dropout=self.config.dropout,
            seed=self.config.seed,
        )
        # A head cannot be cross-validated on a class's only image.
        if config.weights != "none" and config.head_start == "probe" and min(train.counts.values()) > 1:
            self._start_from_probe(network, train)
        result = finetune(
            network,
            train,
            val,
            config,
            self.resize,
            out=self.out / name if name else self.out,
            resume=self.resume,
            progress=self.progress,
            fingerprint=train.fingerprint + val.fingerprint,
        )
        choices = choose(result.val_logits, val, self.config, "validation")
        details = {
            "best_epoch": result.best_epoch,
            "stopped_early": result.stopped_early,
            "images_per_second": round(result.images_per_second, 1),
        }
        return TunedFitted(network, choices, self.config, self.resize, result.history, details)

    def _start_from_probe(self, network: "Network", train: Dataset) -> None:
        """Give the network the head that fits its frozen features."""
        learner = FrozenLearner(
            replace(self.config, mode="features", head="logistic"),
            self.resize,
            self.progress,
            will_export=False,
        )
        network.set_head(learner.learn(learner.prepare(train), None, "").head)


@dataclass(eq=False)
class TunedFitted:
    """A fine-tuned network."""

    tuned: "Network"
    choices: Choices
    config: TrainConfig
    resize: Resize
    history: Sequence[Mapping[str, Any]]
    details: Mapping[str, Any] = field(default_factory=dict)
    features: None = None

    def logits(self, dataset: Dataset) -> NDArray[np.float64]:
        """See `Fitted.logits`."""
        from tellapart.training.device import device_name
        from tellapart.training.finetune import predict_logits

        return predict_logits(
            self.tuned,
            dataset,
            self.resize,
            batch_size=self.config.batch_size,
            device=device_name(self.config),
            workers=self.config.workers,
        )

    def weights(self) -> bytes:
        """See `Fitted.weights`."""
        from safetensors.torch import save

        return save({key: value.cpu().contiguous() for key, value in self.tuned.state_dict().items()})

    def witness(self, dataset: Dataset, n_images: int) -> tuple[Dataset, NDArray[np.float64]]:
        """See `Fitted.witness`."""
        from tellapart.training.export import trained_probabilities

        images = evenly(dataset, n_images)
        pixels = images.pixels(self.resize)
        return images, trained_probabilities(self.tuned, self.choices.temperature, pixels)

    def graph(self, class_names: Sequence[str]) -> "onnx.ModelProto":
        """See `Fitted.graph`."""
        from tellapart.training.export import featurizer_onnx
        from tellapart.training.graph import attach_head

        network = self.tuned.cpu().eval()
        head = network.head
        return attach_head(
            featurizer_onnx(network),
            head.weight.detach().numpy(),
            head.bias.detach().numpy(),
            self.choices.temperature,
            class_names,
        )
