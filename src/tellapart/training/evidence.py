"""What a check of labels rests on: features of the default backbone, and probabilities out of fold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.data.embedding import Network
from tellapart.data.images import Resize
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.training.backbones import find_backbone, resolve_image_size
from tellapart.training.config import TrainConfig
from tellapart.training.device import device_name
from tellapart.training.extra import need_extra
from tellapart.training.features import Featurizer, OnFirstUse, feature_cache_name, graph_featurizer
from tellapart.training.frozen import FrozenNetwork
from tellapart.training.heads import fit_head


class FrozenEvidence:
    """Evidence from the frozen default backbone; the features are those that `train` uses and keeps.

    Attributes
    ----------
    network
        Its featurizer: onnxruntime on a CPU, torch on a GPU.

    Raises
    ------
    WeightsError
        If the pretrained weights cannot be had: here, or when the network is first used.
    """

    def __init__(self, config: TrainConfig | None = None) -> None:
        config = config or TrainConfig(mode="features")
        resize = Resize(resolve_image_size(find_backbone(config.backbone), config.image_size), config.fit)
        frozen = FrozenNetwork(config, resize)
        if device_name(config) == "cpu":
            graph = frozen.graph()
            featurizer = OnFirstUse(lambda: graph_featurizer(graph))
        else:
            featurizer = OnFirstUse(lambda: _on_gpu(frozen))
        self.network = Network(feature_cache_name(frozen.key, resize), resize, featurizer)

    def out_of_fold(
        self, features: NDArray[np.float32], y: NDArray[np.int64], ties: Sequence[int], n_classes: int
    ) -> NDArray[np.float64]:
        """Return each image's probabilities from a logistic regression that did not learn from it.

        Parameters
        ----------
        features
            float32 of shape (n_samples, n_features).
        y
            int64 of shape (n_samples,), at least two images of each of `n_classes` classes.
        ties
            One per image; those that share a number are in one fold.

        Returns
        -------
        float64 of shape (n_samples, n_classes); rows sum to 1.
        """
        fitted = fit_head(
            features,
            y,
            kind="logistic",
            balance=False,
            groups=[str(tie) for tie in ties],
            n_classes=n_classes,
            seed=0,
        )
        return softmax(fitted.oof_logits, fit_temperature(fitted.oof_logits, y))


def _on_gpu(frozen: FrozenNetwork) -> Featurizer:
    from tellapart.training.network import on_device

    return on_device(frozen.network(), "cuda")


def default_network() -> Network:
    """Return the network of `FrozenEvidence`; see `tellapart.data.embedding.default_network`."""
    need_extra()
    return FrozenEvidence().network
