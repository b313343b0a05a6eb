"""tellapart tells images apart.

A folder of pictures sorted by class goes in; a classifier with an honest report comes out.

>>> import tellapart as ta
>>> dataset = ta.Dataset.from_folder("photos")  # doctest: +SKIP
>>> train, test = dataset.split(test_size=0.34, seed=0)  # doctest: +SKIP
>>> run = ta.train(train, ta.TrainConfig(backbone="resnet18"), out="run")  # doctest: +SKIP
>>> ta.evaluate(run.model, test).accuracy  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tellapart.api import check, evaluate, export, load, train
    from tellapart.client import AsyncClient, Client
    from tellapart.data.dataset import Dataset
    from tellapart.deploy.creation import deploy
    from tellapart.deploy.deployment import Deployment, deployments
    from tellapart.evaluation.evaluation import Evaluation
    from tellapart.inference import Classifier
    from tellapart.records import Predictions
    from tellapart.training.config import TrainConfig

_HOME = {
    "AsyncClient": "tellapart.client",
    "Classifier": "tellapart.inference",
    "Client": "tellapart.client",
    "Dataset": "tellapart.data.dataset",
    "Deployment": "tellapart.deploy.deployment",
    "Evaluation": "tellapart.evaluation.evaluation",
    "Predictions": "tellapart.records",
    "TrainConfig": "tellapart.training.config",
    "deploy": "tellapart.deploy.creation",
    "deployments": "tellapart.deploy.deployment",
    "check": "tellapart.api",
    "evaluate": "tellapart.api",
    "export": "tellapart.api",
    "load": "tellapart.api",
    "train": "tellapart.api",
}
"""Where each public name lives; imported on first use, so that `import tellapart` costs nothing."""

__all__ = [
    "AsyncClient",
    "Classifier",
    "Client",
    "Dataset",
    "Deployment",
    "Evaluation",
    "Predictions",
    "TrainConfig",
    "check",
    "deploy",
    "deployments",
    "evaluate",
    "export",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
