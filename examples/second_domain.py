"""Another domain with public names only: questions about a small library, answered by searching it.

A tool, a source of problems and a reward make a new environment; everything else (budget, vector
env, branching, wrappers, agents) works as it does for mathematics.
"""

import re

import gymnasium as gym

from rewards import Attempt, Grade, Reward, Verdict
from torl_env.problems import Listed, Problem
from torl_env.tools import ToolError, tool

LIBRARY = {
    "Ceres": "Ceres is a dwarf planet. It was found in 1801 by Giuseppe Piazzi in Palermo.",
    "Pallas": "Pallas is an asteroid. It was found in 1802 by Heinrich Olbers in Bremen.",
    "Juno": "Juno is an asteroid. It was found in 1804 by Karl Harding in Lilienthal.",
    "Vesta": "Vesta is an asteroid. It was found in 1807 by Heinrich Olbers in Bremen.",
}


@tool
def search(query: str) -> str:
    """Finds the article that shares most words with a query.

    Args:
        query: A few words.
    """
    words = set(re.findall(r"\w+", query.lower()))
    if not words:
        raise ToolError("[search for at least one word]")
    score = {
        name: len(words & set(re.findall(r"\w+", text.lower()))) for name, text in LIBRARY.items()
    }
    best = max(score, key=lambda name: score[name])
    return LIBRARY[best] if score[best] else "[nothing found]"


def exact_words(response: str, reference: str) -> Grade:
    """Right if the last line that starts with `Answer:` says the reference, whatever the case."""
    said = re.findall(r"^Answer:\s*(.+?)\s*$", response, re.MULTILINE)
    if not said:
        return Grade(Verdict.NO_ANSWER, None, "no_answer_line")
    right = said[-1].casefold().rstrip(".") == reference.casefold()
    return Grade(Verdict.CORRECT if right else Verdict.WRONG, said[-1], "words")


def looked_it_up(attempt: Attempt) -> float:
    """1 if the answer is right and was searched for, not remembered."""
    return float(attempt.verdict is Verdict.CORRECT and attempt.tool_calls > 0)


def library_problems() -> Listed:
    """Who found what, and when."""
    problems = []
    for name, text in LIBRARY.items():
        year, finder = re.findall(r"in (\d+) by (\w+ \w+)", text)[0]
        problems.append(Problem(f"{name}-who", f"Who found {name}?", finder, "library"))
        problems.append(
            Problem(f"{name}-when", f"In which year was {name} found?", year, "library")
        )
    return Listed("library", problems)


def make_library(**options: object) -> gym.Env[str, str]:
    """The environment; options are those of `ToRLMath-v0`."""
    return gym.make(
        "torl_env:ToRLMath-v0",
        problems=library_problems(),
        tools=(search,),
        grader=exact_words,
        reward=Reward("library", {"looked_it_up": looked_it_up}),
        **options,
    )


def play(question: str, shown: str) -> str:
    """A stand-in for a model: search first, then read the answer off the article."""
    if not shown:
        subject = question.removesuffix("?").removesuffix(" found").split()[-1]
        return f"I look it up.\n```search\n{subject}\n```"
    year, finder = re.findall(r"in (\d+) by (\w+ \w+)", shown)[0]
    return f"Answer: {finder if question.startswith('Who') else year}"


def main() -> None:
    """Play an episode for each problem."""
    env = make_library()
    total = 0.0
    for problem in library_problems():
        question, _ = env.reset(options={"problem_id": problem.id})
        shown, ended, reward = "", False, 0.0
        while not ended:
            shown, reward, terminated, truncated, info = env.step(play(question, shown))
            ended = terminated or truncated
        print(f"{question:35} {info['answer']:20} {info['verdict']:8} {float(reward):.0f}")
        total += float(reward)
    assert total == len(library_problems())
    env.close()


if __name__ == "__main__":
    main()
