"""Settings that change over the steps of a training, as data.

    temperature=1:1.0,100:0.8          1.0 up to step 99, then 0.8
    clip_high=linear,1:0.2,200:0.28    straight from one to the other
    tool_budget=1:1,50:2,150:4         stages

CIR (arXiv 2508.05612) and ZeroTIR (arXiv 2505.07773) raise budget and length in such stages. A
value is a function of the step alone, so that a resumed run goes on in the stage it was in.
"""

from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agents.core.loss import Loss

OF_LOSS = (
    *("clip_low", "clip_high", "dual_clip", "entropy", "entropy_top", "nll", "off_policy_kl", "kl"),
)
OF_SAMPLING = ("temperature", "max_tokens")
OF_ENV = ("tool_budget", "output_limit")
WHOLE = ("max_tokens", *OF_ENV)
"""These are whole numbers."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values of one setting.

    Raises:
        ValueError: No such setting, or the steps do not rise from 1.

    Example:
        >>> stages = Schedule.parse("tool_budget=1:1,50:2")
        >>> [stages.at(step) for step in (1, 49, 50, 999)]
        [1, 1, 2, 2]
        >>> line = Schedule.parse("entropy=linear,1:0.02,101:0.0")
        >>> [line.at(step) for step in (1, 51, 500)]
        [0.02, 0.01, 0.0]
    """

    name: str
    points: tuple[tuple[int, float], ...]
    """(step, value) in the order of the steps; the first step is 1."""
    linear: bool = False
    """Whether values between two points lie on a line; else a value counts up to the next point."""

    def __post_init__(self) -> None:
        known = (*OF_LOSS, *OF_SAMPLING, *OF_ENV)
        if self.name not in known:
            raise ValueError(f"a schedule is of one of {', '.join(known)}; got {self.name!r}")
        steps = [step for step, _ in self.points]
        if not steps or steps[0] != 1 or steps != sorted(set(steps)):
            raise ValueError(f"schedule of {self.name}: steps rise from 1, got {steps}")
        if self.linear and self.name in WHOLE:
            raise ValueError(f"schedule of {self.name}: a whole number changes in stages, no line")
        whole = all(float(value).is_integer() for _, value in self.points)
        if self.name in WHOLE and not whole:
            raise ValueError(f"schedule of {self.name}: expected whole numbers, got {self.points}")
        if self.name == "tool_budget" and any(value < 1 for _, value in self.points):
            raise ValueError(
                "schedule of tool_budget: expected 1 or more; without a tool the prompt is another"
            )
        if self.name == "kl" and any(value <= 0 for _, value in self.points):
            raise ValueError("schedule of kl: expected more than 0, for 0 has no reference model")

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read `name=[linear,]step:value,step:value`."""
        name, equals, rest = text.partition("=")
        words = [word.strip() for word in rest.split(",")]
        linear = words[0] == "linear"
        try:
            pairs = [word.split(":") for word in words[linear:]]
            points = tuple((int(step), literal_eval(value)) for step, value in pairs)
            if not equals or any(isinstance(v, bool) for _, v in points):
                raise ValueError(text)
            _ = [float(value) for _, value in points]
        except (ValueError, TypeError, SyntaxError) as error:
            raise ValueError(
                f"a schedule is name=step:value,step:value (or name=linear,step:value,...), such "
                f"as temperature=1:1.0,100:0.8; got {text!r}"
            ) from error
        return cls(name, points, linear)

    def at(self, step: int) -> float:
        """The value in a step, counted from 1."""
        after = next((i for i, (start, _) in enumerate(self.points) if start > step), None)
        if after is None:
            return self.points[-1][1]
        (start, value), (end, next_value) = self.points[after - 1], self.points[after]
        if not self.linear:
            return value
        return value + (next_value - value) * (step - start) / (end - start)


def check(schedules: Sequence[Schedule], loss: Loss, max_tokens: int) -> None:
    """Whether schedules fit a training.

    Raises:
        ValueError: Two are of one setting, or a value is out of range, in itself or with others.
    """
    names = [one.name for one in schedules]
    if len(set(names)) < len(names):
        raise ValueError(f"two schedules are of one setting: {', '.join(names)}")
    starts = {step for one in schedules for step, _ in one.points}
    # On a line towards a point the last step before it is the furthest that what it begins, in
    # another schedule, does not hold yet.
    steps = sorted(starts | {step - 1 for step in starts if step > 1})
    for step in steps:
        values = at(schedules, step)
        try:
            of_loss(loss, values)
        except ValueError as error:
            raise ValueError(f"schedule, step {step}: {error}") from error
        if values.get("temperature", 1) <= 0:
            raise ValueError(f"schedule, step {step}: temperature must be positive")
        if not 1 <= values.get("max_tokens", 1) <= max_tokens:
            raise ValueError(
                f"schedule, step {step}: max_tokens={values['max_tokens']}, expected 1 to "
                f"--max-tokens {max_tokens}, which window and memory are planned for"
            )
    if "kl" in names and not loss.kl:
        raise ValueError("a schedule of kl needs a reference model from the start: set kl as well")


def at(schedules: Sequence[Schedule], step: int) -> dict[str, float]:
    """All values of a step by name."""
    return {one.name: one.at(step) for one in schedules}


def of_loss(loss: Loss, values: Mapping[str, float]) -> Loss:
    """The loss with those values that are its own."""
    own = {name: value for name, value in values.items() if name in OF_LOSS}
    return replace(loss, **own) if own else loss  # type: ignore[arg-type]
