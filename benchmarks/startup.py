"""How long one waits for `tellapart --help`, and for the answer about one image, in a new process.

    python benchmarks/startup.py [--model RUN --image FILE]

Without a model, one is trained on a few synthetic images by the default network first. The files are in the
system's memory by then: what is measured is the start of the program, not of the disk. `python -c pass`
takes its turn between the others.
"""

import argparse
import os
import tempfile
from pathlib import Path

from measure import machine_line, median_seconds, table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, help="a run or bundle")
    parser.add_argument("--image", type=Path, help="what to predict")
    options = parser.parse_args()
    if (options.model is None) != (options.image is None):
        parser.error("give --model and --image together, or neither")
    print(machine_line("onnxruntime", "numpy"), end="\n\n")
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        model, image = (options.model, options.image) if options.model else make_model(Path(name))
        commands = {
            "`python -c pass`": (["-c", "pass"], 7),
            "`tellapart --help`": (["-m", "tellapart", "--help"], 7),
            "`tellapart predict MODEL IMAGE`": (["-m", "tellapart", "predict", str(model), str(image)], 5),
        }
        seconds = median_seconds(*zip(*commands.values(), strict=True))
    bare = seconds[0]
    rows = [
        [name, repeats, f"{median:.2f}", f"{median - bare:.2f}", f"{median / bare:.1f}"]
        for (name, (_, repeats)), median in zip(commands.items(), seconds, strict=True)
    ]
    print(table(["command", "runs", "median, s", "above bare Python, s", "× bare Python"], rows))


def make_model(folder: Path) -> tuple[Path, Path]:
    """Train on a few drawn images; return the run and one of the images."""
    import tellapart as ta
    from tellapart.data.lesions import write_lesions

    os.environ["TELLAPART_CACHE"] = str(folder / "cache")
    planted = write_lesions(folder / "images", n_lesions=12)
    dataset = ta.Dataset.from_manifest(planted.manifest)
    run = ta.train(dataset, ta.TrainConfig(mode="features"), folder / "run")
    return run.folder, run.dataset.samples[0].path


if __name__ == "__main__":
    main()
