"""Files with which a model's service runs elsewhere: containers, Kubernetes, KServe, Azure ML.

::

    OUT/Dockerfile  .dockerignore  constraints.txt  model/     the image
    OUT/compose.yaml                                           one machine
    OUT/k8s/*.yaml                                             Kubernetes
    OUT/kserve/inferenceservice.yaml                           KServe
    OUT/azureml/{endpoint,environment,deployment}.yaml         Azure Machine Learning
    OUT/keys.json                                              hashes of the keys
    OUT/README.md                                              what to type
"""

import json
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import tellapart
from tellapart.bundle import CARD_FILE, MODEL_FILE, Bundle
from tellapart.data.files import write_atomically
from tellapart.errors import ConfigError, DeploymentError
from tellapart.serving.keys import Keys

KEYS_FILE, SECRET_FILE = "keys.json", "k8s/secret.yaml"

_TEMPLATES = Path(__file__).parent / "templates"
_RENAMED = {"dockerignore": ".dockerignore"}

# What Kubernetes, KServe (which adds "-predictor") and Azure ML all take.
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}[a-z0-9]")
_IMAGE = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,100})?"
)
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def write_files(
    model: Path,
    out: Path,
    *,
    name: str,
    replicas: int = 2,
    image: str | None = None,
    max_replicas: int = 10,
) -> list[Path]:
    """Write everything that runs a model's service in a container; see `add_key` for its keys.

    Parameters
    ----------
    model
        A bundle or a run folder.
    out
        A new or empty folder.
    name
        What the model and its service are called: 3 to 32 small letters, digits and '-'.
    replicas, max_replicas
        Containers at least, and at most under load.
    image
        The image's full name, as in ``registry.example/team/lesions:2``; None names it after the model.

    Returns
    -------
    The files written.

    Raises
    ------
    ConfigError
        If an argument cannot be used.
    BundleError
        If there is no usable model.
    """
    _check(out, name, replicas, image, max_replicas)
    bundle = Bundle.load(model)
    version = bundle.version
    facts = {
        "name": name,
        "version": version,
        "image": image or f"{name}:{version}",
        "replicas": replicas,
        "max_replicas": max_replicas,
        "tellapart": tellapart.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "class_names": bundle.card.class_names,
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    written = _copy(bundle, out / "model")
    for source in sorted(environment.list_templates(extensions=["j2"])):
        target = source.removesuffix(".j2")
        path = out / _RENAMED.get(target, target)
        text = environment.get_template(source).render(facts)
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
        written.append(path)
    write_atomically(out / "constraints.txt", _constraints().encode())
    write_atomically(out / KEYS_FILE, b"[]\n")
    (out / KEYS_FILE).chmod(0o600)
    return sorted([*written, out / "constraints.txt", out / KEYS_FILE])


def add_key(out: Path | str) -> str:
    """Add a key to the files that `write_files` wrote; return it, which nobody can read again.

    Raises
    ------
    DeploymentError
        If `out` is not such a folder.
    """
    secret, keys = Path(out, SECRET_FILE), Path(out, KEYS_FILE)
    lines = secret.read_text(encoding="utf-8").splitlines() if secret.is_file() else []
    places = [number for number, line in enumerate(lines) if line.startswith(f"  {KEYS_FILE}: ")]
    if len(places) != 1 or not keys.is_file():
        raise DeploymentError(
            f"{out} has no {KEYS_FILE} or {SECRET_FILE} as `tellapart deploy files` writes them"
        )
    key = Keys.open(keys).create()[1]
    lines[places[0]] = f"  {KEYS_FILE}: {json.dumps(keys.read_text(encoding='utf-8'))}"
    write_atomically(secret, ("\n".join(lines) + "\n").encode())
    return key


def _check(out: Path, name: str, replicas: int, image: str | None, max_replicas: int) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a service there; it needs 3 to 32 small letters, digits and "
            "'-', beginning with a letter, as in `--name lesions`"
        )
    if image is not None and not _IMAGE.fullmatch(image):
        raise ConfigError(f"{image!r} is not an image's name; one is registry.example/team/{name}:1")
    if not 1 <= replicas <= max_replicas:
        raise ConfigError(f"replicas is {replicas}; it must be from 1 to max_replicas, {max_replicas}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; choose another --out")


def _copy(bundle: Bundle, folder: Path) -> list[Path]:
    """Copy what serving needs, which the weights to train on from are not."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)  # the image's user is none of this machine's
    copies = []
    for name in (MODEL_FILE, CARD_FILE, "README.md"):
        if (bundle.folder / name).is_file():
            copies.append(Path(shutil.copyfile(bundle.folder / name, folder / name)))
            copies[-1].chmod(0o644)
    return copies


def _constraints() -> str:
    """Pin what the small install draws in to the versions of this machine."""
    versions: dict[str, str] = {}
    waiting = ["tellapart"]
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system, or another version of Python
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name not in versions:
            versions[name] = distribution.version
            needed = [text for text in distribution.requires or () if "extra ==" not in text]
            waiting += [match[0] for text in needed if (match := _REQUIREMENT.match(text))]
    del versions["tellapart"]  # the Dockerfile says which
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
