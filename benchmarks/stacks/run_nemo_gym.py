"""NeMo-Gym: our resources server, its agent and its rollout collector, each over HTTP.

Takes a checkout of NeMo-Gym, which is on no registry. Its model server is the real class with a
script inside, which calls the tool on the numbers of the question and answers with what it said.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.stacks.result import Result, commit_of, report
from torl_env.adapters import nemo_gym as adapter
from torl_env.problems import Problem

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "nemo_gym" / "resources_servers"
NAMES = "torl_math", "torl_math_simple_agent", "policy_model"
PROBLEMS = [
    Problem("right", "What is 6 * 7?", "42"),
    Problem("wrong", "What is 6 * 7?", "41"),
    Problem("undecided", "What is 6 * 7?", "\\frac{"),
]
REPEATS = 2


def ports(count: int) -> list[int]:
    """Free ones on this machine."""
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return found


def configuration() -> dict[str, Any]:
    """The example's own, with addresses; NeMo-Gym's command line would fill them in."""
    from omegaconf import OmegaConf

    example = OmegaConf.load(FOLDER / "torl_math" / "configs" / "torl_math.yaml")
    whole: dict[str, Any] = OmegaConf.to_container(example)
    whole["policy_model"] = {"responses_api_models": {"scripted": {"entrypoint": "app.py"}}}
    for name, port in zip(NAMES, ports(len(NAMES)), strict=True):
        ((section,),) = [list(kind.values()) for kind in whole[name].values()]
        section |= {"host": "127.0.0.1", "port": port}
    whole["head_server"] = {"host": "127.0.0.1", "port": 1}
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
    """One of the three servers, until it is ended."""
    import uvicorn
    from responses_api_agents.simple_agent.app import SimpleAgent

    kind = dict(zip(NAMES, (adapter.ToRLResourcesServer, SimpleAgent, scripted()), strict=True))
    ((section,),) = [list(one.values()) for one in whole[name].values()]
    settings = kind[name].model_fields["config"].annotation
    server = kind[name](
        config=settings.model_validate(section | {"name": name}), server_client=client_of(whole)
    )
    app = server.setup_webserver()
    uvicorn.run(app, host="127.0.0.1", port=section["port"], log_level="error")


@contextmanager
def serving(checkout: Path, whole: dict[str, Any]) -> Iterator[None]:
    """The servers in processes of their own: NeMo-Gym has one HTTP client a process."""
    command = [sys.executable, __file__, str(checkout)]
    started = [subprocess.Popen([*command, name]) for name in NAMES]
    try:
        for name in NAMES:
            ((section,),) = [list(one.values()) for one in whole[name].values()]
            _wait(section["port"])
        yield
    finally:
        for one in started:
            one.terminate()
            one.wait()


def _wait(port: int) -> None:
    for _ in range(1200):
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


def main(checkout: Path, server: str = "") -> None:
    """Serve, collect, compare."""
    sys.path.insert(0, str(checkout))
    if server:
        serve(server, json.loads(os.environ["NEMO_GYM_CONFIG_DICT"]))
        return
    whole = configuration()
    os.environ["NEMO_GYM_CONFIG_DICT"] = json.dumps(whole)
    with tempfile.TemporaryDirectory() as name, serving(checkout, whole):
        kept, failed, means = asyncio.run(collected(Path(name), client_of(whole)))
    rewards = {one["problem_id"]: one["reward"] for one in kept}
    assert rewards == {"right": 1.0, "wrong": -1.0}, rewards
    assert len(kept) == 2 * REPEATS
    assert all(one["tool_calls"] == 1 and one["tool_errors"] == 0 for one in kept)
    assert len(failed) == REPEATS, "an undecided grade must be no reward"
    assert all("could not decide" in one for one in failed)
    assert means["agent_metrics"]["mean/correct"] == 0.5, means
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    report(
        Result(
            stack="NeMo-Gym",
            version=commit_of(checkout),
            ran="resources server, its simple_agent, model server class and rollout collector "
            "over HTTP",
            episodes=len(kept) + len(failed),
            not_run=f"gym env start: it makes environments with uv and Python "
            f"{project['requires-python']}; NeMo RL: it needs GPUs",
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
