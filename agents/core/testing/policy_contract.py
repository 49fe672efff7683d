"""What every `Policy` must do, as checks that anybody can run on a policy of their own.

    @pytest.mark.parametrize("check", POLICY_CHECKS)
    def test_my_policy(check):
        POLICY_CHECKS[check](PolicyCase(make=MyPolicy, prompts=[[1, 2], [3]]))

A check raises `AssertionError` with what was expected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, isnan
from typing import Any

from agents.core.policies.base import Policy, RowStart
from agents.core.types import Completion, FinishReason, Sampling

PATIENCE = 100_000
"""Units of work after which a turn that does not end is a failure."""


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """A policy and what it is checked on."""

    make: Callable[[], Policy]
    """Makes a fresh policy, which writes the same for the same seeds."""
    prompts: Sequence[Sequence[int]]
    """Ids of some prompts; two of them equal shows more."""
    output: Sequence[int] = ()
    """Ids of a tool's output, which fit its tokenizer."""
    how: Sampling = field(default_factory=lambda: Sampling(max_tokens=40))
    knows_logprobs: bool = True
    """False for a policy that cannot tell log-probabilities, such as a server: all are `nan`."""
    seeded: bool = True
    """False for a policy whose sampling no seed fixes."""
    reads_ids: bool = True
    """False for a policy that does not go by the ids it is given, such as a chat or a script."""
    close: Callable[[Any], None] = lambda policy: None
    """Lets go of a policy."""

    @property
    def seeds(self) -> list[int]:
        """One for each prompt."""
        return [101 + row for row in range(len(self.prompts))]


@dataclass(slots=True)
class Played:
    """All that one row wrote."""

    turns: list[Completion] = field(default_factory=list)
    forced: int = 0

    @property
    def ids(self) -> list[int]:
        """Sampled ids."""
        return [i for turn in self.turns for i in turn.ids]


def play(
    case: PolicyCase,
    policy: Policy,
    rows: Sequence[int] | None = None,
    *,
    turns: int = 1,
    remaining_tokens: Sequence[int] | None = None,
) -> list[Played]:
    """Let the policy write `turns` turns of each row, tool output after each but the last."""
    chosen = list(range(len(case.prompts))) if rows is None else list(rows)
    limits = remaining_tokens or [case.how.max_tokens] * len(chosen)
    starts = [
        RowStart(case.prompts[row], case.seeds[row], max_tokens=limit)
        for row, limit in zip(chosen, limits, strict=True)
    ]
    policy.open(starts, case.how)
    remaining = dict(enumerate(limits))
    played = [Played() for _ in chosen]
    live = set(remaining)
    for _ in range(PATIENCE):
        if not live:
            return played
        for completion in policy.advance():
            row = completion.row
            assert row in live, f"row {row} wrote after its release, or is no row of this batch"
            _check_turn(case, policy, completion, remaining[row])
            played[row].turns.append(completion)
            remaining[row] -= len(completion.ids)
            goes_on = len(played[row].turns) < turns and len(case.output) < remaining[row]
            if goes_on and completion.finish is not FinishReason.LENGTH:
                remaining[row] -= len(case.output)
                played[row].forced += len(case.output)
                policy.resume(row, case.output)
            else:
                policy.release(row)
                live.discard(row)
    raise AssertionError(f"rows {sorted(live)} did not end within {PATIENCE} calls of advance()")


def _check_turn(case: PolicyCase, policy: Policy, completion: Completion, remaining: int) -> None:
    size = len(completion.ids)
    assert 0 < size <= remaining, (
        f"a turn has 1 to {remaining} ids, what is left of its row; got {size}"
    )
    count = len(completion.logprobs)
    assert count == size, f"expected a log-probability for each of {size} ids, got {count}"
    if case.knows_logprobs:
        wrong = [p for p in completion.logprobs if not (isfinite(p) and p <= 1e-6)]
        assert not wrong, f"log-probabilities are finite and at most 0, got {wrong[:3]}"
    else:
        assert all(map(isnan, completion.logprobs)), "unknown log-probabilities are nan"
    ends = getattr(policy, "end_ids", {getattr(policy.tokenizer, "eos_token_id", None)})
    if completion.finish is FinishReason.EOS:
        assert completion.ids[-1] in ends, "a turn that ends with EOS has its id as the last one"
    else:
        assert completion.ids[-1] not in ends, f"EOS must finish as 'eos', got {completion.finish}"


def every_row_ends_once(case: PolicyCase) -> None:
    """Each row ends one turn, within its limit, with a log-probability for each id."""
    policy = case.make()
    played = play(case, policy)
    assert [len(row.turns) for row in played] == [1] * len(case.prompts)
    assert policy.advance() == [], "nothing is left to do once all rows are released"
    case.close(policy)


def a_row_goes_on_after_tool_output(case: PolicyCase) -> None:
    """After `resume` a row writes another turn of its own, within what room is left."""
    policy = case.make()
    played = play(case, policy, turns=3)
    for row in played:
        total = len(row.ids) + row.forced
        assert total <= case.how.max_tokens, f"{total} ids of at most {case.how.max_tokens}"
        assert row.turns, "a row wrote nothing"
    case.close(policy)


def rooms_are_kept(case: PolicyCase) -> None:
    """A row with few tokens remaining is cut there and says so; the others are not."""
    policy = case.make()
    remaining_tokens = [1] + [case.how.max_tokens] * (len(case.prompts) - 1)
    first, *_ = play(case, policy, remaining_tokens=remaining_tokens)
    assert len(first.ids) == 1
    finish = first.turns[0].finish
    assert finish in (FinishReason.LENGTH, FinishReason.EOS), f"got {finish!r} after one id"
    case.close(policy)


def batches_follow_each_other(case: PolicyCase) -> None:
    """A policy is opened again after all rows are released; earlier batches leave no trace."""
    policy = case.make()
    first, second = play(case, policy), play(case, policy)
    if case.seeded:
        same = [row.ids for row in first] == [row.ids for row in second]
        assert same, "the second batch of one policy differs from the first"
    case.close(policy)


def seeds_fix_a_row(case: PolicyCase) -> None:
    """Two policies with the same seeds write the same."""
    if not case.seeded:
        return
    both = []
    for _ in range(2):
        policy = case.make()
        both.append([row.ids for row in play(case, policy, turns=2)])
        case.close(policy)
    assert both[0] == both[1], "the same seeds wrote other ids"


def company_changes_nothing(case: PolicyCase) -> None:
    """A row writes alone what it writes in a batch."""
    if not case.seeded:
        return
    policy = case.make()
    together = play(case, policy)
    alone = [play(case, policy, [row])[0].ids for row in range(len(case.prompts))]
    batched = [row.ids for row in together]
    assert batched == alone, "a row alone wrote other ids than in company"
    case.close(policy)


def a_row_goes_on_from_all_that_was_said(case: PolicyCase) -> None:
    """A second turn is what a row would write that begins with the first and the tool's output.

    So it has read all of it, the id that ended the first turn too: what is trained is scored there.
    """
    if not case.reads_ids:
        return
    greedy = replace(case, how=replace(case.how, temperature=0.0))
    policy = case.make()
    rows = play(greedy, policy, turns=2)
    for prompt, row in zip(case.prompts, rows, strict=True):
        if len(row.turns) == 2:
            first, second = row.turns
            said = [*first.ids, *case.output]
            left = case.how.max_tokens - len(said)
            anew = replace(greedy, prompts=[[*prompt, *said]])
            (again,) = play(anew, policy, remaining_tokens=[left])
            assert again.ids == second.ids, "after `resume` a row wrote as if it had not read all"
    case.close(policy)


POLICY_CHECKS: Mapping[str, Callable[[PolicyCase], None]] = {
    check.__name__: check
    for check in (
        every_row_ends_once,
        a_row_goes_on_after_tool_output,
        rooms_are_kept,
        batches_follow_each_other,
        seeds_fix_a_row,
        company_changes_nothing,
        a_row_goes_on_from_all_that_was_said,
    )
}
"""All checks by name."""
