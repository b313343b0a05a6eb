"""What is asked of a Ray cluster, in a process of its own: ``python -m tellapart.deploy.cluster VERB``.

Ray reads who may connect when it is imported, and one process can hold one connection only; the program
that deploys may use Ray for itself. The record comes on standard input, the answer goes out as JSON.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.bundle import CARD_FILE, MODEL_FILE
from tellapart.deploy.connection import connected, shortened
from tellapart.deploy.state import Record
from tellapart.deploy.target import service_settings
from tellapart.errors import DeploymentError, TellapartError

if TYPE_CHECKING:
    from types import ModuleType

START_LIMIT_S = 120.0
"""For all replicas to be ready."""

SHIPPED = (MODEL_FILE, CARD_FILE)
"""Files of a bundle that answers need."""


def ping(record: Record) -> dict[str, Any]:
    """Say nothing but that the cluster answers."""
    with _connected(record):
        return {}


def create(record: Record) -> dict[str, Any]:
    """Start an application; return the record with its port and path."""
    with _connected(record) as serve:
        serve.start(http_options={"host": record.host, "port": record.port})
        if record.name in serve.status().applications:
            raise DeploymentError(
                f"the cluster {record.options['address']} runs an application {record.name!r} already; "
                "take another name"
            )
        options = {**record.options, "path": _prefix(record)}
        record = replace(record, port=_http_port(serve), options=options)
        try:
            _run(serve, record)
        except BaseException:
            serve.delete(record.name)
            raise
    return asdict(record)


def update(record: Record) -> dict[str, Any]:
    """Have the cluster run what the record says now."""
    with _connected(record) as serve:
        _run(serve, record)
    return asdict(record)


def delete(record: Record) -> dict[str, Any]:
    """Stop the application; say whether the cluster runs others."""
    with _connected(record) as serve:
        serve.delete(record.name)
        others = len(serve.status().applications)
        if not others and "pid" in record.options:  # our own cluster, which ends sooner without Serve
            serve.shutdown()
        return {"others": others}


def status(record: Record) -> dict[str, Any]:
    """Return what Ray says of the application, None where it knows none."""
    with _connected(record) as serve:
        applications = serve.status().applications
        found = applications.get(record.name)
    state = (
        {"status": None, "message": ""}
        if found is None
        else {"status": found.status, "message": found.message}
    )
    return {**state, "others": len(applications)}


VERBS: Mapping[str, Callable[[Record], dict[str, Any]]] = {
    "ping": ping,
    "create": create,
    "update": update,
    "delete": delete,
    "status": status,
}


def main() -> int:
    """Answer one question."""
    try:
        answer = VERBS[sys.argv[1]](Record(**json.load(sys.stdin)))
    except TellapartError as exc:
        answer = {"error": type(exc).__name__, "message": str(exc)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return 0


def _run(serve: "ModuleType", record: Record) -> None:
    """Have the cluster run what the record says, and wait until all of it is ready."""
    target = serve.RunTarget(_application(serve, record), name=record.name, route_prefix=_prefix(record))
    serve.run_many([target], wait_for_applications_running=False)
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        found = serve.status().applications[record.name]
        ready = sum(d.replica_states.get("RUNNING", 0) for d in found.deployments.values())
        if found.status == "RUNNING" and ready >= record.replicas:
            return
        if found.status == "DEPLOY_FAILED":
            raise DeploymentError(f"{record.name} did not start on the cluster: {shortened(found.message)}")
        if time.monotonic() > deadline:
            wanted = record.replicas * _cpus(record)
            raise DeploymentError(
                f"{record.name}: {ready} of {record.replicas} replicas are ready after {START_LIMIT_S:g} s; "
                f"they need {wanted:g} CPUs that are free; add nodes, or give fewer --replicas"
            )
        time.sleep(0.2)


def _application(serve: "ModuleType", record: Record) -> Any:
    from tellapart.deploy.replica import Replica

    # The same whatever the number of replicas, so that those that run stay when it changes.
    settings = replace(service_settings(record), workers=1, threads=max(1, int(_cpus(record))))
    copy = Path(record.copy)
    files = {name: (copy / name).read_bytes() for name in SHIPPED}
    keys = record.keys_file.read_text(encoding="utf-8") if record.auth else ""
    # A later deployment of this name must not go on counting where this one ended.
    since = hashlib.sha256(record.created.encode()).hexdigest()[:8]
    counts = Path(tempfile.gettempdir()) / f"tellapart-metrics-{record.name}-{record.version}-{since}"
    told = settings.to_json()
    deployment = serve.deployment(
        name="service",
        num_replicas=record.replicas if _bounds(record) is None else None,
        autoscaling_config=_bounds(record),
        user_config={"keys": keys},
        max_ongoing_requests=settings.queue_size,
        graceful_shutdown_timeout_s=settings.request_timeout_s,
        health_check_period_s=2,
        ray_actor_options={
            "num_cpus": _cpus(record),
            "runtime_env": {"env_vars": {"PROMETHEUS_MULTIPROC_DIR": str(counts)}},
        },
    )
    # Ray gives every application that is sent a new version, and would restart all replicas for a new key.
    code = hashlib.sha256(f"{told} {record.version}".encode()).hexdigest()[:16]
    service = deployment(serve.ingress()(Replica)).options(version=code, _internal=True)
    # The nodes of other clusters do not share our disk; Ray collects there what is printed.
    log = str(record.log_file) if "pid" in record.options else None
    return service.bind(files, told, _prefix(record), log)


def _prefix(record: Record) -> str:
    return f"/{record.name}"


def _cpus(record: Record) -> float:
    return float(record.options.get("cpus", 1))


def _bounds(record: Record) -> Mapping[str, int] | None:
    most = record.options.get("max_replicas")
    return None if most is None else {"min_replicas": record.replicas, "max_replicas": int(most)}


@contextmanager
def _connected(record: Record) -> Iterator["ModuleType"]:
    """Lend Ray Serve on the deployment's cluster."""
    with connected(record.options["address"]):
        from ray import serve

        yield serve


def _http_port(serve: "ModuleType") -> int:
    """Return where the cluster's proxies listen: they may have been started before, elsewhere."""
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    assert client is not None  # we are connected
    return int(client.http_config.port)


if __name__ == "__main__":
    sys.exit(main())
