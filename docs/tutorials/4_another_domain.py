# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 4. Another domain
#
# Questions about a table, answered with SQL: problems, a tool, a grader, a reward, then training. Nothing in the package changes. Less than two minutes.

# %%
import random
import sqlite3

from torl_env.problems import Listed, Problem

CITIES = "Palermo", "Bremen", "Lilienthal", "Kyoto"
draw = random.Random(0)
STAFF = [(f"person{i}", draw.choice(CITIES), draw.randrange(20, 90)) for i in range(60)]


def table() -> sqlite3.Connection:
    """The table, in memory; nothing but reading it is allowed."""
    made = sqlite3.connect(":memory:")
    made.execute("CREATE TABLE staff (name TEXT, city TEXT, pay INTEGER)")
    made.executemany("INSERT INTO staff VALUES (?, ?, ?)", STAFF)
    made.set_authorizer(
        lambda action, *_: (
            sqlite3.SQLITE_OK
            if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
            else sqlite3.SQLITE_DENY
        )
    )
    return made


# %% [markdown]
# ## Problems
#
# The reference comes from Python, not from the tool: two ways to the same answer.

# %%
problems = Listed(
    "staff",
    [
        Problem(
            f"sum-{city}",
            f"What do all in {city} earn?",
            str(sum(p for _, c, p in STAFF if c == city)),
        )
        for city in CITIES
    ]
    + [
        Problem(
            f"count-{city}", f"How many work in {city}?", str(sum(c == city for _, c, _ in STAFF))
        )
        for city in CITIES
    ],
)
print(len(problems), problems[0].question)

# %% [markdown]
# ## A tool
#
# A typed function. What the model did wrongly is a `ToolError`, which it reads; the schema comes from annotations and docstring.

# %%
from torl_env.tools import ToolError, tool


@tool
def sql(query: str) -> str:
    """Asks the table staff(name, city, pay).

    Args:
        query: One SELECT.
    """
    connection = table()  # of its own: tools are called from several threads
    try:
        rows = connection.execute(query).fetchmany(20)
    except sqlite3.Error as error:
        raise ToolError(f"[{error}]") from None
    finally:
        connection.close()
    return "\n".join(", ".join(map(str, row)) for row in rows) or "[no rows]"


print(sql.parameters)

# %% [markdown]
# ## A grader and a reward

# %%
import re

from rewards import Attempt, Grade, Verdict


def right(response: str, reference: str) -> Grade:
    """The last number behind `Answer:`."""
    said = re.findall(r"Answer: *(-?\d+)", response)
    if not said:
        return Grade(Verdict.NO_ANSWER, None, "no_answer_line")
    verdict = Verdict.CORRECT if said[-1] == reference else Verdict.WRONG
    return Grade(verdict, said[-1], "number")


def looked_up(attempt: Attempt) -> float:
    """1 for a right answer that was looked up, a little for one that was not."""
    if attempt.verdict is not Verdict.CORRECT:
        return 0.0
    return 1.0 if attempt.tool_calls else 0.2


# %% [markdown]
# ## Play it

# %%
import gymnasium as gym

how = {"tools": (sql,), "grader": right, "reward": looked_up, "tool_budget": 2}
env = gym.make("torl_env:ToRLMath-v0", problems=problems, **how)
print(env.reset(options={"problem_id": "count-Kyoto"})[0])
print(env.step("```sql\nSELECT count(*) FROM staff WHERE town = 'Kyoto'\n```")[0])
print(env.step("```sql\nSELECT count(*) FROM staff WHERE city = 'Kyoto'\n```")[0])
shown, reward, *_, info = env.step(f"Answer: {sum(c == 'Kyoto' for _, c, _ in STAFF)}")
print(reward, info["verdict"], info["tool_calls"], info["tool_errors"])
assert (reward, info["tool_errors"]) == (1.0, 1)

# %% [markdown]
# And what it forbids:

# %%
env.reset(seed=0)
print(env.step("```sql\nDELETE FROM staff\n```")[0])
env.close()

# %% [markdown]
# The system text that a chat model gets names the tool:

# %%
from torl_env import EnvConfig, system_text

config = EnvConfig(problems=problems, system="Answer with SQL.\n{tools}", **how)
print(system_text(config))

# %% [markdown]
# ## Train on it
#
# As in the third tutorial with a model of phrases: some of them are queries, good and bad. It has to find out to ask first: an answer that was not looked up pays a fifth.

# %%
import warnings

from agents.core.testing.learning import learn
from agents.grpo import GRPO
from torl.wiring import envs_over
from torl_env.parsing import named_parser

kyoto = [p for p in problems if p.id == "count-Kyoto"]
PHRASES = (
    "Let me see. ",
    "\n```sql\nSELECT count(*) FROM staff WHERE city = 'Kyoto'\n```",
    "\n```sql\nSELECT count(*) FROM staf\n```",
    f"\nAnswer: {kyoto[0].answer}",
    "\nAnswer: 7",
)
warnings.filterwarnings("ignore", category=FutureWarning)  # of transformers
rows = learn(
    GRPO(),
    [Problem(f"kyoto-{i}", kyoto[0].question, kyoto[0].answer) for i in range(30)],
    envs_over(problems=problems, **how),
    phrases=PHRASES,
    parser=named_parser("fenced", ("sql",)),
    steps=15,
    prompts_per_step=2,
    group_size=8,
)
for row in rows[::2]:
    print(f"step {row['step']:2}: reward {row['reward']:.2f}, calls {row['tool_calls']:.2f}")
assert rows[-1]["reward"] > rows[0]["reward"]

# %% [markdown]
# With a real model and a file of your own it is one call:
# `torl.train("Qwen/Qwen2.5-1.5B", problems="staff.csv", env=dict(tools=[sql], grader=right, reward=looked_up, tool_budget=2), system="Answer with SQL.\n{tools}", steps=200, out="out/sql")`,
# or one command, with the functions in `mine.py`:
# `torl train --problems staff.csv --tools mine:sql --grader mine:right --reward mine:looked_up --out out/sql`.
