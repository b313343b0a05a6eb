"""Our solver of the logistic head against scikit-learn's LogisticRegression: time, and the same answer.

    python benchmarks/head_solver.py [--data DATA]

Both choose C along the same path, on the same folds, by the same rule, and then fit all images. scikit-learn
has its default tolerance, and its fits along the path are warm-started; it runs on one thread, as ours does,
and on all, which can be slower on small matrices or busy cores. How far the probabilities are from the truth
is seen against fits in double precision to a far smaller tolerance.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from measure import machine_line, table
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.data.splits import deal
from tellapart.training.backbones import find_backbone, resolve_image_size
from tellapart.training.config import TrainConfig
from tellapart.training.features import featurise, graph_featurizer
from tellapart.training.frozen import FrozenNetwork
from tellapart.training.heads import C_PATH, MAX_FOLDS, fit_head

SEED = 0
LOGISTIC_PATH = C_PATH[2:]
SHARES = (0.72, 0.10, 0.08, 0.045, 0.03, 0.015, 0.01)
"""Of the classes of random features: about those of a clinic."""
SIGNAL, SIGNAL_DIRECTIONS = 0.3, 30
"""How far apart, and in how many directions, the classes lie: hard to tell apart, as lesions are."""

MEASURED = ("seconds", "× ours", "chosen C", "out-of-fold log-loss", "furthest from the exact fit")
HEADER = ("solver", *MEASURED)

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="take features of these images; default random ones")
    parser.add_argument("--samples", type=int, default=4787)
    parser.add_argument("--features", type=int, default=1280)
    options = parser.parse_args()
    print(machine_line("numpy", "scipy", "scikit-learn"))
    x, y = from_images(options.data) if options.data else random_features(options.samples, options.features)
    print(f"{len(x)} × {x.shape[1]} features, {y.max() + 1} classes\n")
    print(table(HEADER, compare(x, y)))


def compare(x: Features, y: Labels) -> list[list[str]]:
    """Return one row per solver."""
    started = time.perf_counter()
    ours = fit_head(x, y, kind="logistic", balance=False, groups=None, n_classes=y.max() + 1, seed=SEED)
    our_seconds = time.perf_counter() - started
    our_c, our_loss = float(ours.chosen["C"]), float(ours.chosen["cv_log_loss"])
    found = {"tellapart": (our_seconds, our_c, our_loss, softmax(ours.head.logits(x), axis=1))}

    centred = x - x.mean(axis=0)
    scaled = centred / np.float32(np.sqrt(np.mean(np.square(centred))))
    for name, n_threads in (("scikit-learn, one thread", 1), ("scikit-learn, all threads", None)):
        with threadpool_limits(n_threads, user_api="blas"):
            started = time.perf_counter()
            c, loss, y_prob = search(scaled, y)
            found[name] = time.perf_counter() - started, c, loss, y_prob

    rows = []
    for name, (seconds, c, loss, y_prob) in found.items():
        furthest = np.abs(y_prob - exact_fit(scaled, y, c)).max()
        row = [f"{seconds:.2f}", f"{seconds / our_seconds:.1f}", f"{c:g}", f"{loss:.4f}", f"{furthest:.1e}"]
        rows.append([name, *row])
    return rows


def search(x: Features, y: Labels) -> tuple[float, float, Probabilities]:
    """Raise C until the out-of-fold log-loss rises; return the best, its loss and the fit of all images."""
    folds = deal(y, range(len(y)), [1 / MAX_FOLDS] * MAX_FOLDS, seed=SEED, every_class=False)
    models = [LogisticRegression(warm_start=True, max_iter=1000) for _ in range(MAX_FOLDS)]
    log_prob = np.empty((len(y), int(y.max()) + 1))
    best_c, best_loss = LOGISTIC_PATH[0], float("inf")
    for c in LOGISTIC_PATH:
        for fold, model in enumerate(models):
            model.set_params(C=c).fit(x[folds != fold], y[folds != fold])
            log_prob[folds == fold] = model.predict_log_proba(x[folds == fold])
        loss = float(-log_prob[np.arange(len(y)), y].mean())
        if loss >= best_loss:
            break
        best_c, best_loss = c, loss
    return best_c, best_loss, LogisticRegression(C=best_c, max_iter=1000).fit(x, y).predict_proba(x)


def exact_fit(x: Features, y: Labels, c: float) -> Probabilities:
    """Return the probabilities of a fit that is as good as exact."""
    with threadpool_limits(1, user_api="blas"):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=20_000).fit(x.astype(np.float64), y)
    return model.predict_proba(x)


def random_features(n_samples: int, n_features: int) -> tuple[Features, Labels]:
    """Return non-negative features whose variance lies in few directions, as that of networks does."""
    rng = np.random.default_rng(SEED)
    y = rng.choice(len(SHARES), n_samples, p=SHARES)
    spectrum = np.arange(1, n_features + 1) ** -0.5
    centres = np.zeros((len(SHARES), n_features))
    centres[:, :SIGNAL_DIRECTIONS] = SIGNAL * rng.standard_normal((len(SHARES), SIGNAL_DIRECTIONS))
    mixing = rng.standard_normal((n_features, n_features)) / np.sqrt(n_features)
    latent = (rng.standard_normal((n_samples, n_features)) + centres[y]) * spectrum
    return np.maximum(latent @ mixing, 0).astype(np.float32), y


def from_images(data: Path) -> tuple[Features, Labels]:
    """Return the default network's features, from the cache where they are known."""
    config = TrainConfig(mode="features", device="cpu")
    resize = Resize(resolve_image_size(find_backbone(config.backbone), None), config.fit)
    frozen = FrozenNetwork(config, resize)
    used, found = featurise(Dataset.load(data), graph_featurizer(frozen.graph()), resize, frozen.key)
    return found.of(used), used.targets


if __name__ == "__main__":
    main()
