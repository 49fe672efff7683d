"""SkyRL-gym: its registry, its environments' protocol and its averages on our environment."""

from importlib.metadata import version

from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report
from torl_env.adapters import skyrl as adapter
from torl_env.problems import Listed, Problem

PROBLEMS = Listed("two", [Problem("a", "What is 6*7?", "42"), Problem("b", "What is 2+2?", "4")])
CALL = "I compute.\n```python\nprint(6*7)\n```\n"


def play(inline: bool) -> tuple[list[float], list[dict[str, object]], list[str]]:
    """Both problems; rewards, metrics and what the environment said."""
    import skyrl_gym

    rewards, metrics, said = [], [], []
    for row in adapter.rows(PROBLEMS):
        env = skyrl_gym.make("torl", env_config={"inline": inline}, extras=row)
        prompt, _ = env.init(row["prompt"])
        assert prompt[-1]["content"].startswith("What is")
        out = env.step(CALL)
        assert not out["done"]
        said.append(out["observations"][0]["content"])
        out = env.step("It is \\boxed{42}.")
        assert out["done"]
        assert out["observations"] == []
        rewards.append(out["reward"])
        metrics.append(env.get_metrics())
        env.close()
    return rewards, metrics, said


def faults() -> list[str]:
    """What a rollout says whose machine dies, and one whose grade is undecided."""
    import skyrl_gym

    from torl_env import SandboxError

    said = []
    undecided = Listed("one", [Problem("q", "?", "\\frac{")])
    for problems, options in ((PROBLEMS, {"sandbox": DYING}), (undecided, {})):
        row = next(adapter.rows(problems))
        env = skyrl_gym.make("torl", env_config=options, extras=row)
        env.init(row["prompt"])
        try:
            out = env.step(CALL if options else "It is \\boxed{42}.")
            raise SystemExit(f"a reward where there is none: {out['reward']}")
        except SandboxError as error:
            said.append(str(error))
        env.close()
    return said


def main() -> None:
    """Play in both modes of SkyRL's generator."""
    from skyrl_gym.metrics import aggregate_for_environment

    adapter.register()
    adapter.register()
    rewards, metrics, said = play(inline=False)
    assert rewards == [1.0, -1.0]
    assert said == ["42", "42"]
    assert play(inline=True)[2] == ["```output\n42\n```\n"] * 2
    assert aggregate_for_environment("torl", metrics)["correct"] == 0.5
    died, undecided = faults()
    assert "died" in died, died
    assert "could not decide" in undecided, undecided
    report(
        Result(
            version=version("skyrl-gym"),
            ran="registry, make, init and step, metrics, both multi-turn modes",
            episodes=4,
            fault="raises; the run stops, and resumes: SkyRL leaves no rollout out",
            not_run="SkyRL's generator and trainer: on no registry, and they need a GPU",
        )
    )


if __name__ == "__main__":
    main()
