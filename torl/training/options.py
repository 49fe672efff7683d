"""The options of `torl train`, and what they mean to the parts of a training."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym

from agents.core.algorithm import Algorithm
from agents.core.curriculum import Curriculum
from agents.core.replay import Replay
from agents.core.schedule import Schedule
from agents.core.trainer.alarms import Alarms
from agents.core.trainer.options import ImportanceMode, Late, Training
from agents.core.types import Sampling
from agents.sft import SFT
from torl.algorithms import algorithm_name, implied, make_algorithm
from torl.console import CommandError
from torl.environment import environment, stored
from torl_env import EnvConfig
from torl_env.problems.types import ProblemSource

if TYPE_CHECKING:
    from agents.core.trainer.vllm_generation import VLLM


def default_env() -> EnvConfig:
    """Easy problems to train on, one call each."""
    return environment(problems="procedural:easy:L2-3", tool_budget=1)


@dataclass(frozen=True)
class TrainOptions:
    """Train a language model to think with Python.

    The defaults are the laptop run: SmolLM2-135M-Instruct on easy procedural problems, on CPU in
    minutes. ToRL's own settings are the defaults of `agents.grpo.GRPO`.
    """

    out: Path = Path("out/demo")
    """Run folder; must be new or empty, unless --resume is given."""
    resume: bool = False
    """Go on with the run in --out from its last checkpoint, with the options of that run."""
    dry_run: bool = False
    """Print what the run would do and need, and stop before it does."""
    algorithm: str | Algorithm = "grpo"
    """grpo, rloo (leave-one-out), gtpo, ppo, thor; arpo, aepo, treerl, treepo (answers that share
    beginnings); cot (GRPO without a tool); sft, cot-sft (imitation alone, with the tool or
    without); or module:Class for one of your own."""
    set: tuple[str, ...] = ()
    """Settings of the algorithm or its loss: --set clip_high=0.28 nll=0.01 scale_by_std=false."""
    model: str = "smollm2"
    """`smollm2` (embedded default), a folder, or a hub id."""
    env: EnvConfig = field(default_factory=default_env)
    """The environment. Each of its options may be written short where nothing else has its name:
    --problems, --tool-budget, --reward, --tools, --stateful, --sandbox, --system, ..."""
    text_env: str | gym.Env[Any, Any] | None = None
    """A Gymnasium environment of your own in place of --env: `module:object`, or an id. Its spaces
    are text; a problem is a seed. Branches (THOR) and live tools need ours."""
    heldout: str | ProblemSource = ""
    """Problems to evaluate on; empty: the held-out split of --problems."""
    allow_overlap: str = ""
    """Train although problems of this held-out source are among the training problems."""
    prompt: str = "chat"
    """Prompt style: chat, chat-text, or torl (base models)."""
    warm_start: int | None = None
    """Traces of the SFT stage before RL; 0 leaves the stage out. By default 96 where the problems
    are procedural and Python is the tool, since those come with programs to imitate; else none."""
    warm_start_code: float = 0.4
    """Share of these traces that call the tool."""
    traces: Path | None = None
    """Traces to imitate (.jsonl) in place of generated ones: written ones, or transcripts and
    records, of which right answers are taken. With --steps 0 this is all there is to train."""
    warm_start_from: Path | None = None
    """Weights of an earlier SFT stage to start RL from, in place of a stage of its own."""
    sft: SFT = field(default_factory=SFT)
    """How to imitate in the SFT stage."""
    steps: int = 12
    """RL steps: batches that are sampled and learned from."""
    prompts: int = 8
    """Problems per step."""
    group: int = 8
    """Samples per problem."""
    micro_batch: int = 16
    """Rows per forward and backward pass; less needs less memory."""
    micro_batch_tokens: int = 0
    """Tokens per pass in place of rows, prompts and padding included: as many rows as fit."""
    updates: int = 1
    """Optimiser steps that a batch is divided among."""
    epochs: int = 1
    """Passes over each batch."""
    learning_rate: float = 1e-5
    dtype: str = "auto"
    """What sampling and the products of training are computed in: bfloat16, float32, or auto,
    whichever the hardware is fast at; master weights stay in float32."""
    activation_checkpointing: bool | None = None
    """Compute activations again in the backward pass: a third more work, far less memory. By
    default where the plan of memory says that the run does not fit without."""
    lora_rank: int = 0
    """Rank of LoRA adapters that RL trains in place of all weights (needs PEFT); 0 trains all. The
    SFT stage trains all weights."""
    max_tokens: int = 110
    """Tokens of one response, tool output included."""
    temperature: float = 1.0
    """Of sampling during training."""
    eval_problems: int = 128
    """Held-out problems evaluated before and after; 0 leaves evaluation out."""
    eval_temperature: float = 0.6
    schedule: tuple[str, ...] = ()
    """Settings that change over the steps: --schedule temperature=1:1.0,100:0.8
    tool_budget=1:1,50:2 clip_high=linear,1:0.2,200:0.28; also max_tokens, output_limit, clip_low,
    dual_clip, entropy, entropy_top, nll, kl, off_policy_kl."""
    curriculum: Curriculum = field(default_factory=Curriculum)
    """Problems drawn by how often they are solved: --curriculum.mix 0.1 0.7 0.2 (easy, normal,
    hard)."""
    replay: Replay = field(default_factory=Replay)
    """Right answers to hard problems learned from again: --replay.keep 2."""
    alarms: Alarms = field(default_factory=Alarms)
    """What rings where a training breaks down: --alarms.action off, warn or stop."""
    save_every: int = 4
    """Steps between checkpoints."""
    transcripts: int = 256
    """Most episodes of a step whose transcripts are kept, whole problems; 0 keeps none."""
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    report_to: tuple[str, ...] = ()
    """Also tell trackers of each RL step: tensorboard, wandb, trackio, or another that transformers
    knows. They are installed apart."""
    policy: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    """What samples in training: transformers, vLLM in the training process, or a vLLM server."""
    overlap: bool | None = None
    """Sample on while a slow tool is out: one looping program then stalls no other episode, and the
    last bits of the numbers follow the clock. By default on a GPU and with vLLM, whose kernels do
    not give the same bits twice in any case; --no-overlap keeps the order fixed there too."""
    staleness: int = 0
    """Steps that a process of its own may sample ahead of learning, with the weights there are; 0:
    each waits for the other."""
    late: Late = "wait"
    """With --staleness: wait for a group that would become older than that, or go on with others
    and mask those of its ids that are too old."""
    sampler_threads: int = 0
    """CPU threads of that process; 0 is torch's choice."""
    importance: ImportanceMode = "token_truncate"
    """What corrects for vLLM's log-probabilities being a little other than the trainer's: a ratio
    for each token or for the whole response; truncated at the cap, or left out beyond it."""
    importance_cap: float = 2.0
    """Largest of these ratios."""
    vllm_memory: float | None = None
    """Share of the GPU's memory that vLLM takes in the training process; by default what the plan
    of memory leaves to it."""
    vllm_url: str = "http://localhost:8000/v1"
    """Of the vLLM server."""
    device_gb: float = 0.0
    """Plan for devices of so many GB of memory, which are not here; 0: for those that are."""
    hang_minutes: float = 20.0
    """Where there are several processes: minutes without progress after which one of them hangs,
    and all end."""

    def __post_init__(self) -> None:
        if self.warm_start is None:
            env = self.env
            worked = is_generated(env.problems) and env.tools in (None, ("python",))
            worked = worked and self.text_env is None
            object.__setattr__(self, "warm_start", 96 if worked else 0)
        for name, kind in NESTED.items():
            if isinstance(given := getattr(self, name), Mapping):
                object.__setattr__(self, name, kind(**given))


NESTED = {"sft": SFT, "alarms": Alarms, "curriculum": Curriculum, "replay": Replay}
"""Options that are groups of options; a mapping stands for one."""


def is_generated(problems: object) -> bool:
    """Whether these problems are procedural: their splits share no question, by construction."""
    return isinstance(problems, str) and problems.startswith("procedural")


def resolved(options: TrainOptions) -> TrainOptions:
    """The options with what the algorithm implies: without a tool none is paid for or shown."""
    name = options.algorithm if isinstance(options.algorithm, str) else ""
    changes = implied(name, options.prompt)
    if "tool_budget" in changes:
        changes["env"] = environment(options.env, tool_budget=changes.pop("tool_budget"))
    return dataclasses.replace(options, **changes)


def algorithm_of(options: TrainOptions) -> Algorithm:
    """Credit and loss.

    Raises:
        CommandError: No such algorithm, or an impossible setting.
    """
    if options.group < 2:
        raise CommandError(
            f"--group {options.group}: a group of one has no baseline; expected at least 2"
        )
    sizes = {"group_size": options.group, "prompts_per_step": options.prompts}
    return make_algorithm(options.algorithm, options.set, sizes)


_PATHS = ("out", "traces", "warm_start_from")
OBJECT = "object"
"""Key under which a record keeps the repr of an object that was given in Python."""


def must_work_out(options: TrainOptions) -> bool:
    """Whether training refuses answers that copy the question: where our own grader pays."""
    return options.env.grader is None and options.text_env is None


def to_json(options: TrainOptions) -> dict[str, Any]:
    """The options as a run keeps them."""
    values: dict[str, Any] = {item.name: getattr(options, item.name) for item in fields(options)}
    for name in _PATHS:
        values[name] = None if values[name] is None else str(values[name])
    if not isinstance(options.algorithm, str):
        values["algorithm"] = {OBJECT: algorithm_name(options.algorithm)}
    if not isinstance(options.heldout, str):
        values["heldout"] = {OBJECT: options.heldout.name}
    if not isinstance(options.text_env, str | None):
        values["text_env"] = {OBJECT: algorithm_name(options.text_env)}
    nested = {name: dataclasses.asdict(getattr(options, name)) for name in NESTED}
    return values | nested | {"env": stored(options.env)}


def from_json(record: Mapping[str, Any], given: Mapping[str, Any]) -> TrainOptions:
    """The options that a run has kept.

    Args:
        record: What `to_json` gave.
        given: Objects, which a file cannot hold: `algorithm`, `heldout`, and fields of the
            environment. All else stays as the run was started.

    Raises:
        CommandError: The run was started with an object, and it is not given.
        ConfigError: So for an object of the environment.
    """
    values = dict(record)
    for name in ("algorithm", "heldout", "text_env"):
        if isinstance(values.get(name), Mapping):
            if isinstance(given.get(name, ""), str):
                raise CommandError(
                    f"this run was started from Python with an object as {name} "
                    f"({values[name][OBJECT]}): go on there, torl.train(out=..., resume=True, "
                    f"{name}=...)"
                )
            values[name] = given[name]
    objects = given.get("env") or {}
    values["env"] = EnvConfig.from_json(json.dumps(values["env"]), **objects)
    for name in _PATHS:
        values[name] = None if values[name] is None else Path(values[name])
    for name in ("set", "report_to", "schedule"):
        values[name] = tuple(values.get(name, ()))
    known = {item.name for item in fields(TrainOptions)}
    return TrainOptions(**{name: value for name, value in values.items() if name in known})


def training_of(options: TrainOptions) -> Training:
    """Sizes and rates."""
    return Training(
        steps=options.steps,
        prompts_per_step=options.prompts,
        group_size=options.group,
        learning_rate=options.learning_rate,
        dtype=options.dtype,
        activation_checkpointing=bool(options.activation_checkpointing),
        micro_batch=options.micro_batch,
        micro_batch_tokens=options.micro_batch_tokens,
        updates=options.updates,
        epochs=options.epochs,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        staleness=options.staleness,
        late=options.late,
        schedule=tuple(map(Schedule.parse, options.schedule)),
        curriculum=options.curriculum,
        replay=options.replay,
        alarms=options.alarms,
        save_every=options.save_every,
        transcripts=options.transcripts,
        importance_mode=options.importance,
        importance_cap=options.importance_cap,
        seed=options.seed,
        report_to=options.report_to,
    )


def sampling_of(options: TrainOptions) -> Sampling:
    """How training samples."""
    # What places of a tree are chosen by.
    entropies = algorithm_of(options).tree_rule is not None
    return Sampling(options.temperature, max_tokens=options.max_tokens, entropies=entropies)


def vllm_of(options: TrainOptions, processes: int = 1) -> "VLLM | None":
    """Where vLLM samples; `None` where transformers does.

    Args:
        options: Of the run.
        processes: That sample together, each its share of a step.
    """
    if options.policy == "transformers":
        return None
    from agents.core.trainer.vllm_generation import VLLM, Mode

    mode = Mode.COLOCATE if options.policy == "vllm" else Mode.SERVER
    rows = options.prompts * options.group // processes
    made = VLLM(mode, url=options.vllm_url, rows=min(max(rows, 1), 256))
    if options.vllm_memory is None:
        return made
    return dataclasses.replace(made, memory=options.vllm_memory)
