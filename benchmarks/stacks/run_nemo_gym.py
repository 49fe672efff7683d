"""NeMo-Gym: our resources server, its agent, environment servers and collector, over HTTP.

Collected twice: through the example's environment server, which hands rows on to the agent, and
through the one that opens and closes sessions itself. Its model server is the real class with a
script inside, which calls the tool on the numbers of the question and answers with what it said.
Programs on 6 * 7 kill their sandbox.
"""

import asyncio
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report
from torl_env.adapters import nemo_gym as adapter
from torl_env.problems import Problem

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "nemo_gym" / "resources_servers"
NAMES = "torl_math", "torl_math_simple_agent", "policy_model", "torl_math_environment_server"
RELAY, SESSIONS = "legacy_agent", "single_agent_turn_legacy"
"""NeMo-Gym's two environment servers for rows of one agent."""
PROBLEMS = [
    Problem("right", "What is 3 * 7?", "21"),
    Problem("wrong", "What is 3 * 7?", "20"),
    Problem("undecided", "What is 3 * 7?", "\\frac{"),
    Problem("dying", "What is 6 * 7?", "42"),
]
REPEATS = 2
FORK = multiprocessing.get_context("fork")
"""NeMo-Gym has one configuration and one HTTP client a process, and imports take seconds."""


def ports(count: int) -> list[int]:
    """Free ones on this machine."""
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return found


def configuration(environment_server: str) -> dict[str, Any]:
    """The example's own, with addresses; NeMo-Gym's command line would fill them in.

    It is left where NeMo-Gym looks for it, in a variable of the process.
    """
    from omegaconf import OmegaConf

    example = OmegaConf.load(FOLDER / "torl_math" / "configs" / "torl_math.yaml")
    whole: dict[str, Any] = OmegaConf.to_container(example)
    if environment_server == SESSIONS:
        relay = whole[NAMES[3]]["environment_servers"].pop(RELAY)
        whole[NAMES[3]]["environment_servers"][SESSIONS] = {
            **relay,
            "resources_server": {"type": "resources_servers", "name": NAMES[0]},
            "resources_tool_transports": ["direct_http"],
            "cleanup_timeout_seconds": 60,
        }
    whole["policy_model"] = {"responses_api_models": {"scripted": {"entrypoint": "app.py"}}}
    for name, port in zip(NAMES, ports(len(NAMES)), strict=True):
        ((section,),) = [list(kind.values()) for kind in whole[name].values()]
        section |= {"host": "127.0.0.1", "port": port}
    whole["torl_math"]["resources_servers"]["torl_math"]["env"]["sandbox"] = DYING
    whole["head_server"] = {"host": "127.0.0.1", "port": 1}
    os.environ["NEMO_GYM_CONFIG_DICT"] = json.dumps(whole)
    return whole


def scripted() -> type[Any]:
    """NeMo-Gym's model server with a script for a model."""
    from nemo_gym.base_responses_api_model import (
        BaseResponsesAPIModelConfig,
        SimpleResponsesAPIModel,
    )
    from nemo_gym.openai_utils import NeMoGymResponse

    class Scripted(SimpleResponsesAPIModel):  # type: ignore[misc]
        config: BaseResponsesAPIModelConfig

        async def chat_completions(self, body: Any) -> Any:
            raise NotImplementedError

        async def responses(self, body: Any) -> Any:
            items = body.model_dump()["input"]
            said = [one["output"] for one in items if one.get("type") == "function_call_output"]
            if said:
                text = {"type": "output_text", "text": f"\\boxed{{{said[-1]}}}", "annotations": []}
                item: dict[str, Any] = {
                    **{"type": "message", "id": "m", "role": "assistant", "status": "completed"},
                    "content": [text],
                }
            else:
                first, second = re.findall(r"\d+", str(items[-1]["content"]))[:2]
                code = json.dumps({"code": f"print({first} * {second})"})
                call = {"call_id": "c", "name": "python", "arguments": code}
                item = {"type": "function_call", "id": "f", "status": "completed", **call}
            return NeMoGymResponse(
                **{"id": "r", "created_at": 0.0, "model": "scripted", "object": "response"},
                **{"parallel_tool_calls": False, "tool_choice": "auto", "tools": []},
                output=[item],
            )

    return Scripted


def client_of(whole: dict[str, Any]) -> Any:
    """NeMo-Gym's client of the servers in a configuration."""
    from nemo_gym.server_utils import ServerClient
    from omegaconf import OmegaConf

    return ServerClient(
        head_server_config=whole["head_server"], global_config_dict=OmegaConf.create(whole)
    )


def serve(name: str, whole: dict[str, Any]) -> None:
    """One of the servers, until it is ended."""
    import uvicorn
    from environment_servers.legacy_agent.app import LegacyAgentEnvironmentServer
    from environment_servers.single_agent_turn_legacy.app import (
        SingleAgentTurnLegacyEnvironmentServer,
    )
    from responses_api_agents.simple_agent.app import SimpleAgent

    kinds = {
        "torl_math": adapter.ToRLResourcesServer,
        "simple_agent": SimpleAgent,
        "scripted": scripted(),
        RELAY: LegacyAgentEnvironmentServer,
        SESSIONS: SingleAgentTurnLegacyEnvironmentServer,
    }
    ((implementation, section),) = [item for one in whole[name].values() for item in one.items()]
    kind = kinds[implementation]
    settings = kind.model_fields["config"].annotation
    server = kind(
        config=settings.model_validate(section | {"name": name}), server_client=client_of(whole)
    )
    app = server.setup_webserver()
    uvicorn.run(app, host="127.0.0.1", port=section["port"], log_level="error")


@contextmanager
def serving(whole: dict[str, Any]) -> Iterator[None]:
    """The servers, until the block ends."""
    started = [FORK.Process(target=serve, args=(name, whole)) for name in NAMES]
    for one in started:
        one.start()
    try:
        for name in NAMES:
            ((section,),) = [list(one.values()) for one in whole[name].values()]
            _wait(section["port"])
        yield
    finally:
        for one in started:
            one.terminate()
            one.join()


def _wait(port: int) -> None:
    for _ in range(6000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"no server came up on port {port}")


async def collected(folder: Path, client: Any) -> tuple[list[dict[str, Any]], list[Any], Any]:
    """Rollouts by NeMo-Gym's collector: results, failures and its averages."""
    from nemo_gym.rollout_collection import RolloutCollectionConfig, RolloutCollectionHelper

    data, out = folder / "problems.jsonl", folder / "rollouts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in adapter.rows(PROBLEMS)))

    class Collector(RolloutCollectionHelper):  # type: ignore[misc]
        def setup_server_client(self, head_server_config: Any = None) -> Any:
            return client

    settings = RolloutCollectionConfig(
        agent_name=NAMES[1],
        input_jsonl_fpath=str(data),
        output_jsonl_fpath=str(out),
        num_repeats=REPEATS,
    )
    await Collector().run_from_config(settings)
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    failed = (folder / "rollouts_failures.jsonl").read_text().splitlines()
    (means,) = json.loads((folder / "rollouts_aggregate_metrics.json").read_text())
    return kept, failed, means


def validation() -> subprocess.Popen[str]:
    """NeMo-Gym's own check of the example's configuration, with nothing left to guess."""
    command = [str(Path(sys.executable).with_name("gym")), "env", "validate", "--strict"]
    command += ["--resources-server", "torl_math", "--model-type", "vllm_model"]
    command += ["+error_on_agent_without_environment_server=true", "+policy_base_url=http://model"]
    command += ["+policy_api_key=none", "+policy_model_name=model"]
    roots = os.environ | {"NEMO_GYM_EXTRA_ROOTS": str(FOLDER.parent)}
    return subprocess.Popen(command, env=roots, stdout=subprocess.PIPE, text=True)


def conforms(whole: dict[str, Any]) -> None:
    """NeMo-Gym's own check of how environment servers seed and close a session."""
    from nemo_gym.base_resources_server import ResourcesSeedSessionRequest
    from nemo_gym.testing.session_conformance import check_resources_session_contract

    section = whole["torl_math"]["resources_servers"]["torl_math"]
    settings = adapter.ToRLResourcesServerConfig.model_validate(section | {"name": "torl_math"})
    app = adapter.ToRLResourcesServer(
        config=settings, server_client=client_of(whole)
    ).setup_webserver()
    row = next(adapter.rows(PROBLEMS))
    seed = ResourcesSeedSessionRequest.model_validate(
        {
            "resources_session_id": "one",
            "episode_id": {"rollout_id": "r", "attempt": 0},
            "task_id": {"taskset": "torl_math", "task_id": "right"},
            "task_data": {name: row[name] for name in ("problem_id", "question", "answer")},
        }
    )
    check_resources_session_contract(app, seed, keeps_state=True)


def through(environment_server: str) -> int:
    """Collect through one of NeMo-Gym's environment servers and compare.

    Returns:
        Episodes played.
    """
    whole = configuration(environment_server)
    with tempfile.TemporaryDirectory() as name, serving(whole):
        kept, failed, means = asyncio.run(collected(Path(name), client_of(whole)))
    rewards = {one["problem_id"]: one["reward"] for one in kept}
    assert rewards == {"right": 1.0, "wrong": -1.0}, rewards
    assert len(kept) == 2 * REPEATS
    assert all(one["tool_calls"] == 1 and one["tool_errors"] == 0 for one in kept)
    assert len(failed) == 2 * REPEATS, "neither an undecided grade nor a dead machine is a reward"
    assert sum("could not decide" in one for one in failed) == REPEATS
    assert sum("died" in one for one in failed) == REPEATS, failed
    assert means["agent_metrics"]["mean/correct"] == 0.5, means
    return len(kept) + len(failed)


def main() -> None:
    """Validate, serve, collect, compare."""
    validating = validation()
    for heavy in ("nemo_gym.rollout_collection", "responses_api_agents.simple_agent.app"):
        import_module(heavy)  # Once for all the processes to come.
    episodes = 0
    for server in (RELAY, SESSIONS):
        with ProcessPoolExecutor(1, mp_context=FORK) as pool:
            episodes += pool.submit(through, server).result()
    conforms(configuration(RELAY))
    said, _ = validating.communicate()
    assert validating.returncode == 0, said
    report(
        Result(
            version=version("nemo-gym"),
            ran="resources server, its simple_agent, model server class, two of its environment "
            "servers and rollout collector over HTTP; its checks of the configuration and of a "
            "server's sessions",
            episodes=episodes,
            fault="a row of ..._failures.jsonl, in no mean, played again by a resumed run",
            not_run="gym env start, which makes an environment for each server; NeMo RL: GPUs",
        )
    )


if __name__ == "__main__":
    main()
