"""A deployment on a cluster of two nodes that others reach: what it refuses, and the death of a node."""

import pytest

from pictures import write_class_folders
from processes import eventually_on_ray as eventually
from processes import load, replicas_of
from tellapart.deploy.creation import deploy
from tellapart.deploy.deployment import Deployment
from tellapart.errors import DeploymentError
from tellapart.inference import Classifier

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("own_deployments")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return sorted(write_class_folders(tmp_path_factory.mktemp("new"), {"benign": 1}).rglob("*.png"))


@pytest.fixture(scope="module")
def nodes(trained):
    """A cluster of two nodes on one machine, open to others; and a deployment with a replica on each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or the load would come before those who answer it
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        second = cluster.add_node(num_cpus=2)
    where = {"target": "ray", "address": cluster.address, "host": "0.0.0.0"}
    try:
        yield cluster, second, deploy(trained.folder, "nodes", replicas=2, **where)
    finally:
        cluster.shutdown()


def test_a_deployment_without_keys_is_never_where_others_reach_it(nodes, trained):
    """Serve runs already and listens to everybody; Ray would not tell that it does not move to loopback."""
    cluster, _, deployment = nodes
    port = deployment.record.port
    where = {"target": "ray", "address": cluster.address}
    told = rf"listen on 0\.0\.0\.0:{port} .* --host 0\.0\.0\.0 --port {port}, which needs keys"
    with pytest.raises(DeploymentError, match=told):
        deploy(trained.folder, "open", auth=False, **where)
    with pytest.raises(DeploymentError, match=rf"0\.0\.0\.0:{port + 1} cannot be had"):
        deploy(trained.folder, "elsewhere", host="0.0.0.0", port=port + 1, **where)
    assert not replicas_of("open")
    head = cluster.address.split(":")[0]
    assert deployment.url == f"http://{head}:{port}/nodes"


def test_a_node_may_die_under_load(nodes, trained, pictures):
    """The replica on the dead one is placed on the other, and meanwhile nobody gets a wrong answer."""
    cluster, second, deployment = nodes
    expected = Classifier.load(trained.folder).predict(pictures[:1])
    label = expected.class_names[int(expected.y_prob[0].argmax())]
    with load(deployment.url, pictures[0].read_bytes(), key=deployment.key, pause_s=0.1) as seen:
        eventually(lambda: len(seen.answers) > 20)
        cluster.remove_node(second, allow_graceful=False)
        eventually(lambda: len(replicas_of("nodes")) == 1)
        eventually(lambda: len(replicas_of("nodes")) == 2, timeout_s=90)
        n_answers, n_failures = len(seen.answers), seen.n_failures
        eventually(lambda: len(seen.answers) > n_answers + 20)
    assert {label for _, label in seen.answers} == {label}
    assert seen.n_failures == n_failures  # none since the replica came back
    assert n_failures <= 16, seen  # those in flight on it, and what the proxy had sent after them
    cluster.shutdown()
    assert deployment.status().state == "unreachable"
    with pytest.raises(DeploymentError, match=r"whether 'nodes' still runs .* --force"):
        deployment.delete()
    deployment.delete(force=True)
    with pytest.raises(DeploymentError, match="no deployment 'nodes'"):
        Deployment.find("nodes")
