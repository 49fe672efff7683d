"""The Ray backend on a real local cluster of two nodes, one of which is killed."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="the ray extra is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")

from torl_env.errors import SandboxError  # noqa: E402
from torl_env.sandbox import Limits, Status  # noqa: E402
from torl_env.sandbox.backends.ray import RaySandbox  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster() -> Iterator[Any]:
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.second = made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_two_nodes_share_the_work_and_one_may_die(cluster: Any) -> None:
    with RaySandbox(Limits(cpu_seconds=20, wall_seconds=60)) as sandbox:
        assert len(sandbox.refresh()) == 2
        assert sandbox.run("print(1)").stdout == "1\n"
        assert sandbox.run("1/0").status is Status.ERROR
        sandbox.submit("import time; time.sleep(30)").cancel()

        slow = "import time; time.sleep(3); print('survived')"
        flying = [sandbox.submit(slow) for _ in range(8)]
        assert sorted(node.flying for node in sandbox._nodes.values())[0] >= 3
        time.sleep(1.0)
        cluster.remove_node(cluster.second, allow_graceful=False)
        assert [call.result(90).stdout for call in flying] == ["survived\n"] * 8
        assert sandbox.run("print(2)").stdout == "2\n"

        session = sandbox.session()
        session.run("x = 4")
        assert session.run("print(x)").stdout == "4\n"
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run("")
