"""The Ray backend on a real local cluster of two nodes, one of which is killed."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="the ray extra is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")

from torl_env import ToRLMathEnv  # noqa: E402
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
        assert sorted(node.flying for node in sandbox.nodes.values())[0] >= 3
        time.sleep(1.0)
        cluster.remove_node(cluster.second, allow_graceful=False)
        assert [call.result(90).stdout for call in flying] == ["survived\n"] * 8
        assert sandbox.run("print(2)").stdout == "2\n"

    with pytest.raises(SandboxError, match="closed"):
        sandbox.run("")


def test_live_sessions_on_both_nodes_and_one_is_killed(
    cluster: Any, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    with RaySandbox(Limits(cpu_seconds=20, wall_seconds=60)) as sandbox:
        sessions = [sandbox.session() for _ in range(4)]
        drawn = []
        for session in sessions:
            drawn.append(session.run("import os\nx = os.urandom(8).hex()\nprint(x)").stdout)
        lived_on = [session.node.name for session in sessions]
        assert sorted(map(lived_on.count, set(lived_on))) == [2, 2]
        cluster.remove_node(cluster.second, allow_graceful=False)
        # Its processes outlive it for a moment.
        wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) == 1)
        time.sleep(1.0)
        alive = []
        for session, value in zip(sessions, drawn, strict=True):
            try:
                assert session.run("print(x)").stdout == value
                alive.append(session)
            except SandboxError:
                with pytest.raises(SandboxError, match="the session is closed"):
                    session.run("print(x)")
        assert len(alive) == 2
        twig = alive[0].branch()
        assert twig.run("y = 1; print(x)").stdout == alive[0].run("print(x)").stdout
        assert alive[0].run("y").error_type == "NameError"
        again = sandbox.session()
        assert again.run("print(2)").stdout == "2\n"


def test_an_episode_goes_on_by_replay_when_its_node_is_killed(cluster: Any) -> None:
    with RaySandbox() as sandbox:
        env = ToRLMathEnv(sandbox=sandbox, stateful=True, tool_budget=4)
        env.reset(seed=0)
        for value in (1, 2):
            env.step(f"```python\nx{value} = {value}\n```")
        (home,) = [node for node in sandbox.nodes.values() if node.sessions]
        ray.kill(home.actor)
        observation, *_, info = env.step("```python\nprint(x1 + x2)\n```")
        assert (observation, info["infra_error"]) == ("\n```output\n3\n```\n", "")
        env.close()


def test_closing_after_ray_has_ended_starts_no_other() -> None:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    sandbox = RaySandbox()
    session = sandbox.session()
    assert session.run("print(1)").stdout == "1\n"
    ray.shutdown()
    session.close()
    sandbox.close()
    assert not ray.is_initialized()
