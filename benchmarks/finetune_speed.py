"""Fine-tuning on files against the bare forward-backward-optimizer steps of the same network, in one run.

    python benchmarks/finetune_speed.py DATA [--device cuda --images 4096]

Fine-tuning is what `tellapart train --mode finetune` does in its epochs (default augmentation, loss and
optimizer; the whole network learns from the first epoch on). Its first epoch also starts the loading
processes and decodes every file; later ones find decoded pixels if they fit (see README.md). Bare: a plain
torch loop of our own on one batch that already lies on the device, with as many threads, the same layout,
precision and kind of optimizer; half of it before the fine-tuning and half after it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import machine_line, table, take
from torch.nn.functional import cross_entropy

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.training.config import TrainConfig
from tellapart.training.finetune import choose_device, finetune
from tellapart.training.network import Network, create_network
from tellapart.training.update import amp_type

WARM_UP_STEPS = 3
VAL_IMAGES = 32

HEADER = (
    "backbone",
    "device",
    "batch",
    "images",
    "bare steps, images/s",
    "epoch 1, images/s",
    "later epochs, images/s",
    "ratio, epoch 1",
    "ratio, later",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder per class, or a manifest")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=256, help="to learn from, in each epoch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, help="processes that decode; the default is that of train")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    config = TrainConfig(
        mode="finetune",
        backbone=options.backbone,
        batch_size=options.batch_size,
        epochs=max(2, options.epochs),
        head_epochs=0,
        patience=None,
        device=options.device,
        workers=options.workers,
    )
    device = choose_device(config)
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else ""
    print(machine_line("torch", "torchvision", "timm", gpu=gpu), end="\n\n")

    chosen = take(Dataset.load(options.data), options.images + VAL_IMAGES)
    n_steps = max(1, (len(chosen) - VAL_IMAGES) // config.batch_size)
    before = bare_seconds(config, device, n_steps, len(chosen.class_names))
    first, later = finetune_rates(config, chosen)
    after = bare_seconds(config, device, n_steps, len(chosen.class_names))
    bare = 2 * n_steps * config.batch_size / (before + after)
    row = [config.backbone, device.type, config.batch_size, len(chosen) - VAL_IMAGES]
    row += [f"{rate:.1f}" for rate in (bare, first, later)] + [
        f"{rate / bare:.2f}" for rate in (first, later)
    ]
    print(table(HEADER, [row]))


def build(config: TrainConfig, n_classes: int) -> Network:
    """Return the network as fine-tuning builds it."""
    return create_network(
        config.backbone, weights=config.weights, n_classes=n_classes, dropout=config.dropout
    )


def finetune_rates(config: TrainConfig, chosen: Dataset) -> tuple[float, float]:
    """Return images per second of the first epoch, and the median of the later ones."""
    network = build(config, len(chosen.class_names))
    val = np.linspace(0, len(chosen) - 1, VAL_IMAGES).round().astype(int)
    train = np.setdiff1d(np.arange(len(chosen)), val)
    with tempfile.TemporaryDirectory(prefix="tellapart-") as folder:
        parts = chosen.subset(train), chosen.subset(val)
        finetune(network, *parts, config, Resize(network.image_size), out=Path(folder))
        lines = (Path(folder) / "history.jsonl").read_text(encoding="utf-8").splitlines()
    first, *later = [json.loads(line)["images_per_second"] for line in lines]
    return first, float(np.median(later))


def bare_seconds(config: TrainConfig, device: torch.device, n_steps: int, n_classes: int) -> float:
    """Return how long n steps take on a batch that already lies on the device."""
    network = build(config, n_classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=config.weight_decay)
    size, mixed = network.image_size, amp_type(config, device)
    pixels = torch.randint(256, (config.batch_size, size, size, 3), dtype=torch.uint8, device=device)
    targets = torch.randint(n_classes, (config.batch_size,), device=device)
    started = 0.0
    for step in range(WARM_UP_STEPS + n_steps):
        if step == WARM_UP_STEPS:
            _wait_for(device)
            started = time.perf_counter()
        with torch.autocast(device.type, mixed, enabled=mixed is not None):
            logits = network(pixels)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits.float(), targets, label_smoothing=config.label_smoothing).backward()
        optimizer.step()
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
