"""What `torl train` refuses: one message, before anything is written."""

import json

import pytest

from agents.core.run.folder import Run
from torl.__main__ import parse
from torl.console import CommandError
from torl.environment import environment
from torl.training.options import TrainOptions, resolved, to_json
from torl.training.resuming import check_same
from torl.training.run import train


@pytest.fixture
def refusal(refused, tiny, tmp_path):
    """The message of a training with these options; its folder is not made."""

    def run(*words):
        out = tmp_path / "run"
        message = refused("train", "--model", tiny, "--out", out, *words)
        assert not out.exists()
        return message

    return run


REFUSED = {
    "no such model": (["--model", "./nowhere"], "no model at './nowhere'"),
    "no such reward": (["--reward", "gold"], "torl_penalty"),
    "no such prompt": (["--prompt", "haiku"], "chat"),
    "no such problems": (["--problems", "procedurl"], "procedural"),
    "no such file": (["--problems", "nowhere.jsonl"], "nowhere.jsonl"),
    "group of one": (["--group", "1"], "group of one"),
    "no group": (["--prompts", "0"], "prompts_per_step must be at least 1, got 0"),
    "no rows": (["--micro-batch", "0"], "micro_batch must be at least 1"),
    "negative steps": (["--steps", "-1"], "steps must be at least 0"),
    "no rate": (["--learning-rate", "0"], "learning_rate positive"),
    "never saved": (["--save-every", "0"], "save_every must be at least 1"),
    "no tokens": (["--max-tokens", "0"], "max_tokens must be >= 1"),
    "negative budget": (["--tool-budget", "-1"], "tool_budget must be at least 0, got -1"),
    "negative rank": (["--lora-rank", "-1"], "--lora-rank: expected 0 or more"),
    "greedy training": (["--temperature", "0"], "greedy samples of a group are all the same"),
    "no update": (["--updates", "0"], "updates and epochs must be at least 1"),
    "two starts": (["--traces", "a", "--warm-start-from", "b"], "give one of them"),
    "longer than the window": (["--max-tokens", "2040"], "exceeds the model's window of 2048"),
    "nothing to imitate": (["--algorithm", "sft", "--warm-start", "0"], "nothing would be trained"),
    "weights alone": (["--algorithm", "sft", "--warm-start-from", "b"], "nothing would be trained"),
    "no imitation": (["--sft.batch", "0"], "batch of SFT must be at least 1, got 0"),
    "no cap": (["--importance-cap", "0"], "its cap is positive"),
    "no server": (["--policy", "vllm-server", "--vllm-url", "http://127.0.0.1:9/v1"], "vllm serve"),
    "no address": (["--sandbox", "fusion", "--dry-run"], "write fusion:http://HOST:PORT"),
    "no sandbox": (["--sandbox", "docker", "--dry-run"], "unknown sandbox 'docker'"),
    "too much memory": (["--policy", "vllm", "--vllm-memory", "2"], "must be in (0, 1), got 2.0"),
}

IDLE = {
    "a cap": (["--importance-cap", "3"], "--importance-cap says something with --policy vllm"),
    "memory of vLLM": (["--vllm-memory", "0.5"], "--vllm-memory says something with"),
    "address of vLLM": (["--vllm-url", "http://h:1/v1"], "--vllm-url says something with"),
    "threads": (["--sampler-threads", "1"], "--sampler-threads says something with --staleness"),
    "adapters of SFT": (["--algorithm", "sft", "--lora-rank", "8"], "SFT stage trains all weights"),
    "what to replay": (["--replay.rare", "0.5"], "--replay says something with --replay.keep"),
    "pools": (["--curriculum.easy", "0.9"], "--curriculum says something with --curriculum.mix"),
    "two kinds of traces": (["--warm-start", "32", "--warm-start-from", "b"], "take their place"),
}
IDLE |= {
    f"{words[0]} of an environment of one's own": (
        ["--text-env", "shop:Echo", *words],
        message,
    )
    for words, message in (
        (["--reward", "thor"], "--reward is of our environment"),
        (["--tool-budget", "3"], "--tool-budget is of our environment"),
        (["--schedule", "tool_budget=1:1,5:2"], "--tool-budget is of our environment"),
        (["--heldout", "procedural"], "--heldout says something with problems"),
        (["--warm-start", "8"], "--warm-start says something with problems"),
    )
}


@pytest.mark.parametrize("case", IDLE)
def test_options_that_would_do_nothing(case, refusal):
    words, message = IDLE[case]
    assert message in refusal(*words)


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_options(case, refusal):
    words, message = REFUSED[case]
    assert message in refusal(*words)


def test_vllm_that_is_not_installed(refusal, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "vLLM is not installed: pip install" in refusal("--policy", "vllm")


def test_groups_that_processes_cannot_share(refusal, monkeypatch):
    monkeypatch.setattr("agents.core.trainer.distributed.world_size", lambda: 3)
    monkeypatch.setattr("agents.core.trainer.distributed.join", lambda: None)
    monkeypatch.setattr("agents.core.trainer.distributed.run_on_main", lambda work: work())
    assert "8 groups of 8 cannot be shared evenly by 3 processes" in refusal()


def test_a_model_without_a_chat_template(tiny, refusal):
    file = tiny / "chat_template.jinja"
    template = file.read_text()
    file.unlink()
    assert "no chat template" in refusal()
    assert "--prompt torl" in refusal()
    file.write_text(template)


def test_a_model_that_cannot_end_an_answer(tiny, refusal):
    file = tiny / "tokenizer_config.json"
    before = file.read_text()
    config = {k: v for k, v in json.loads(before).items() if k not in ("eos_token", "pad_token")}
    file.write_text(json.dumps(config))
    assert "no end-of-sequence token" in refusal()
    file.write_text(before)


def test_resuming_what_is_no_run(refused, tmp_path):
    assert "expected a config.json" in refused("train", "--resume", "--out", tmp_path / "none")


def begin(out, algorithm):
    """A run that was begun, with options of its own."""
    options = TrainOptions(
        out=out,
        algorithm=algorithm,
        set=("clip_high=0.28",),
        learning_rate=1e-3,
        schedule=("temperature=1:1.0,2:0.9",),
        env=environment(tool_budget=1, problems="procedural:easy:L1"),
    )
    Run(out).write_config({"options": to_json(resolved(options))})
    return out


@pytest.fixture
def begun(tmp_path):
    return begin(tmp_path / "begun", "grpo")


OTHERS = {
    "a rate": (["--learning-rate", "0.1"], "--learning-rate was 0.001, now 0.1"),
    "a default": (["--learning-rate", "1e-5"], "--learning-rate was 0.001, now 1e-05"),
    "of imitation": (["--sft.epochs", "3"], "--sft.epochs was 2, now 3"),
    "of the environment": (["--reward", "thor"], "--reward was"),
    "of the algorithm": (["--set", "clip_high=0.2"], "--set was ['clip_high=0.28'], now"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_run_goes_on_with_its_own_options(case, begun, refused):
    words, message = OTHERS[case]
    said = refused("train", "--out", begun, "--resume", *words)
    assert message in said
    assert f"--model {begun} --warm-start 0" in said


@pytest.mark.parametrize("given", [{"steps": 5}, {"tool_budget": 3}, {"env": {"tool_budget": 3}}])
def test_so_it_does_in_python(given, begun):
    with pytest.raises(CommandError, match="--resume goes on with the options"):
        train(out=begun, resume=True, **given)


@pytest.mark.parametrize("algorithm", ["grpo", "cot"])
def test_the_command_that_began_a_run_goes_on_with_it(algorithm, tmp_path):
    begun = begin(tmp_path / "begun", algorithm)
    same = ["--algorithm", algorithm, "--set", "clip_high=0.28", "--learning-rate", "1e-3"]
    same += ["--schedule", "temperature=1:1.0,2:0.9", "--tool-budget", "1"]
    for words in ([], same):
        check_same(parse("train", ["--out", str(begun), "--resume", *words]), begun)


LATER = [("sft", "warmup_steps"), ("alarms", "code"), ("env", "parser")]


@pytest.mark.parametrize(("group", "name"), LATER)
def test_a_run_goes_on_that_was_begun_before_there_was_an_option(group, name, begun):
    options = Run(begun).read_config()["options"]
    del options[group][name]
    del options["report_to"]
    Run(begun).write_config({"options": options})
    check_same(parse("train", ["--out", str(begun), "--resume"]), begun)


def test_a_run_goes_on_with_its_sandbox_elsewhere(begun):
    """As where a cluster has lost the node that it was begun on."""
    words = ["--out", str(begun), "--resume", "--sandbox", "fusion:http://elsewhere:8080"]
    check_same(parse("train", words), begun)


@pytest.mark.long
def test_the_plan_of_a_run_that_goes_on(begun, torl):
    ran = torl("train", "--out", begun, "--resume", "--dry-run")
    assert ran.code == 0, ran.err
    assert "algorithm    GRPO" in ran.out


class Counting:
    """A grader whose repr is not the same twice."""

    shown = 0

    def __call__(self, response, reference):
        return True

    def __repr__(self):
        Counting.shown += 1
        return f"Counting({Counting.shown})"


def test_objects_without_a_name_are_not_compared(tmp_path):
    out, grader = tmp_path / "begun", Counting()
    options = TrainOptions(out=out, env=environment(grader=grader))
    Run(out).write_config({"options": to_json(resolved(options))})
    check_same(options, out)


def test_an_option_of_the_environment_is_told_apart_from_one_of_the_same_name(begun, refused):
    said = refused("train", "--out", begun, "--resume", "--env.prompt", "{question}!")
    assert "--env.prompt was {question}, now {question}!" in said
