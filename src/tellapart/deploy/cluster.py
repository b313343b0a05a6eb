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
from tellapart.data.addresses import is_loopback
from tellapart.deploy import head
from tellapart.deploy.connection import connected, shortened
from tellapart.deploy.counts import VARIABLE
from tellapart.deploy.state import Record, Registry
from tellapart.deploy.target import service_settings
from tellapart.errors import DeploymentError, TellapartError

if TYPE_CHECKING:
    from types import ModuleType

START_LIMIT_S = 120.0
"""For all replicas to be ready, and for a cluster of our own to start."""

SHIPPED = (MODEL_FILE, CARD_FILE)
"""Files of a bundle that answers need."""

UPSCALE_DELAY_S = 10.0
"""How long there must be more to do than the replicas can before one is added, which itself takes seconds."""

RETRY_AFTER_S = 1.0
"""What the proxies tell callers whom they refuse because too many wait already."""


def create(record: Record) -> dict[str, Any]:
    """Start an application; return the record with its port."""
    with _connected(record) as serve:
        _start_serve(serve, record)
        record = _at_its_port(record)
        if record.name in serve.status().applications:
            raise DeploymentError(
                f"the cluster {record.options['address']} runs an application {record.name!r} already; "
                "take another name"
            )
        # Written down at once: if whoever asked is killed meanwhile, it can be found, and ended.
        Registry().save(record)
        try:
            _run(serve, record)
        except BaseException:
            serve.delete(record.name)
            raise
    return asdict(record)


def update(record: Record) -> dict[str, Any]:
    """Have the cluster run what the record says now."""
    with _connected(record) as serve:
        if record.name not in serve.status().applications:
            raise DeploymentError(f"the cluster does not run {record.name!r} any more")
        _at_its_port(record)
        _run(serve, record)
    return {}


def rekey(record: Record) -> dict[str, Any]:
    """Tell the replicas the keys as they are now, if there are any; those to come read them."""
    with _connected(record) as serve:
        if record.name in serve.status().applications:
            _run(serve, record)
    return {}


def delete(record: Record) -> dict[str, Any]:
    """Stop the application."""
    with _connected(record) as serve:
        if record.name in serve.status().applications:
            serve.delete(record.name)
    return {}


def applications(record: Record) -> dict[str, Any]:
    """Return what Ray says of each application on the record's cluster."""
    with _connected(record) as serve:
        found = serve.status().applications
    return {name: {"status": one.status, "message": one.message} for name, one in found.items()}


VERBS: Mapping[str, Callable[[Record], dict[str, Any]]] = {
    "create": create,
    "update": update,
    "rekey": rekey,
    "delete": delete,
    "applications": applications,
}


def main() -> int:
    """Answer one question."""
    try:
        answer = VERBS[sys.argv[1]](Record(**json.load(sys.stdin)))
    except TellapartError as exc:
        answer = {"error": type(exc).__name__, "message": str(exc)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return 0


def _start_serve(serve: "ModuleType", record: Record) -> None:
    """Start Ray Serve, if it does not run yet."""
    wanted = {"host": record.host, "port": record.port}
    try:
        serve.start(http_options=wanted)
    except ValueError:  # another deployment starts it at this very moment
        serve.start(http_options=wanted)


def _at_its_port(record: Record) -> Record:
    """Return the record with the port at which the cluster's proxies listen.

    Serve does not move once it runs, and lets nobody know that it did not: what we believed to be on
    loopback, and without keys, could be open to everybody.

    Raises
    ------
    DeploymentError
        If they listen elsewhere than they should.
    """
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    assert client is not None  # we are connected
    host, port = client.http_config.host, client.http_config.port
    must = record.options.get("port", port)
    if (record.host, must) != (host, port):
        keys = "" if record.auth or is_loopback(host or "") else ", which needs keys"
        raise DeploymentError(
            f"{record.host}:{must} cannot be had: Ray Serve runs on this cluster already, and its proxies "
            f"listen on {host}:{port} for every deployment; give --host {host} --port {port}{keys}"
        )
    return replace(record, port=port, options={**record.options, "port": port})


def _run(serve: "ModuleType", record: Record) -> None:
    """Have the cluster run what the record says, and wait until all of it is ready."""
    path = record.options["path"]
    target = serve.RunTarget(_application(serve, record), name=record.name, route_prefix=path)
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
        # What does not fit a replica's own queue would be refused there; as many again may wait here.
        max_ongoing_requests=settings.queue_size,
        max_queued_requests=settings.queue_size,
        backpressure_config={"retry_after_s": RETRY_AFTER_S},
        graceful_shutdown_timeout_s=settings.request_timeout_s,
        health_check_period_s=2,
        ray_actor_options={
            "num_cpus": _cpus(record),
            "runtime_env": {"env_vars": {VARIABLE: str(counts)}},
        },
    )
    # Ray gives every application that is sent a new version, and would restart all replicas for a new key.
    code = hashlib.sha256(f"{told} {record.version}".encode()).hexdigest()[:16]
    service = deployment(serve.ingress()(Replica)).options(version=code, _internal=True)
    # The nodes of other clusters do not share our disk; Ray collects there what is printed.
    log = str(record.log_file) if "pid" in record.options else None
    return service.bind(files, told, record.options["path"], log)


def _cpus(record: Record) -> float:
    return float(record.options.get("cpus", 1))


def _bounds(record: Record) -> Mapping[str, float] | None:
    most = record.options.get("max_replicas")
    if most is None:
        return None
    return {
        "min_replicas": record.replicas,
        "max_replicas": int(most),
        "upscale_delay_s": UPSCALE_DELAY_S,
    }


@contextmanager
def _connected(record: Record) -> Iterator["ModuleType"]:
    """Lend Ray Serve on the deployment's cluster; wait for one of our own that is just being started."""
    own, deadline = head.process_of(record), time.monotonic() + START_LIMIT_S

    def is_coming() -> bool:
        return own is not None and own.is_alive and time.monotonic() < deadline

    with connected(record.options["address"], is_coming=is_coming):
        from ray import serve

        yield serve


if __name__ == "__main__":
    sys.exit(main())
