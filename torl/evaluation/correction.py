"""Self-correction as an agent of `torl eval` (THOR, section 2.4): failed calls are written again.

    torl eval --agent torl.evaluation.correction:suffix --model RUN --temperature 0.6

`action`, `suffix` (THOR's choice), `plan` and `shown` are the repairs of `agents.thor.Repair`.
N_corr and L_suf go into brackets: `suffix(tries=2,suffix_tokens=500)`.
What was taken back is reported on stderr, and line by line in OUT.corrections.jsonl where --out is
given.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from agents.core.run.storage import dump_line
from agents.core.types import Trajectory
from agents.thor import Correction, Repair, SelfCorrecting
from torl.console import CommandError, say
from torl.evaluation.options import EvalOptions, sampling_of
from torl.wiring import BatchEnvs, make_rollout
from torl_env.problems.types import Problem

_NAME = re.compile(r"(\w+)(?:\((.*)\))?")
_SETTINGS = ("tries", "suffix_tokens")


def __getattr__(name: str) -> Callable[[EvalOptions], "Correcting"]:
    """An agent by its name, such as `suffix` or `suffix(tries=2)`."""
    try:
        how = correction(name)
    except CommandError as error:
        raise AttributeError(str(error)) from None
    return partial(Correcting, how=how)


def correction(name: str) -> Correction:
    """The correction of a name.

    Raises:
        CommandError: No repair or setting has such a name, or a value is impossible.

    Example:
        >>> correction("plan(tries=2)")
        Correction(repair=<Repair.PLAN: 'plan'>, suffix_tokens=100, tries=2)
    """
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in set(Repair):
        raise CommandError(
            f"--agent torl.evaluation.correction: expected one of {', '.join(Repair)}, "
            f"with settings such as suffix(tries=2,suffix_tokens=500), got {name!r}"
        )
    settings: dict[str, int] = {}
    for part in filter(None, (found[2] or "").replace(" ", "").split(",")):
        key, _, value = part.partition("=")
        if key not in _SETTINGS or not value.isdigit():
            raise CommandError(
                f"--agent torl.evaluation.correction:{found[1]}: "
                f"expected {' or '.join(_SETTINGS)} with a whole number of 0 or more, got {part!r}"
            )
        settings[key] = int(value)
    return Correction(Repair(found[1]), **settings)


class Correcting:
    """`collect(problems, k, seed)` with failed calls corrected.

    Args:
        options: Of the evaluation.
        how: The correction.
    """

    def __init__(self, options: EvalOptions, how: Correction) -> None:
        self._rows = options.rows
        self._accounts = options.out.with_suffix(".corrections.jsonl") if options.out else None
        self._corrects = SelfCorrecting(_rollout(options), how)
        self._total: dict[str, int] = {}

    def __call__(self, problems: Sequence[Problem], k: int, seed: int) -> Iterator[Trajectory]:
        """As many trajectories as an evaluation asks for, batch by batch."""
        from agents.core.rollout.engine import batches

        for batch in batches(problems, self._rows, k):
            rows = self._corrects.collect(batch, k, seed)
            self._account(rows)
            yield from rows
        counts = ", ".join(f"{count} {name}" for name, count in self._total.items())
        counts = counts.replace("_", " ") or "nothing"
        say(f"self-correction ({self._corrects.how.repair}): {counts}")

    def _account(self, rows: Sequence[Trajectory]) -> None:
        """Note what was taken back of these episodes."""
        for row, account in zip(rows, self._corrects.accounts, strict=True):
            spent = asdict(account)
            for name, count in spent.items():
                self._total[name] = self._total.get(name, 0) + count
            if self._accounts is not None:
                self._accounts.parent.mkdir(parents=True, exist_ok=True)
                line = {"problem_id": row.problem_id, "sample": row.sample, **spent}
                with self._accounts.open("a") as file:
                    file.write(dump_line(line))


def _rollout(options: EvalOptions) -> Any:
    """The engine of the evaluation, with states to go back to."""
    import torch

    from agents.core.models import loading

    torch.manual_seed(options.seed)
    model, tokenizer = loading.load(options.model, dtype="auto", device=options.device)
    envs = BatchEnvs(options.env)
    # What the record's header says; a greedy policy would write the same failure again.
    sampling = sampling_of(options)
    return make_rollout(model, tokenizer, envs, sampling, options.prompt, keep_states=True)


def accounts(file: Path) -> dict[tuple[str, int], dict[str, int]]:
    """What was taken back of each problem and sample; a repeated one counts as it was last."""
    from agents.core.run.storage import read_lines

    return {
        (line.pop("problem_id"), line.pop("sample")): line for line in map(dict, read_lines(file))
    }
