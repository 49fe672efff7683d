# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 2. Train and report
#
# The laptop run in small: SmolLM2-135M imitates some tool transcripts, then learns by GRPO, on the easiest level alone and in three small steps instead of twelve. It ends in some minutes and shows which way the curves go; a claim needs the whole run, `make demo`, and more than one seed.

# %%
import json
import tempfile
from pathlib import Path

import torl

out = Path(tempfile.mkdtemp()) / "run"
run = torl.train(
    "smollm2",
    problems="procedural:easy:L1",
    steps=3,
    prompts=2,
    group=4,
    warm_start=48,
    max_tokens=80,
    eval_problems=6,
    save_every=3,
    out=out,
)

# %% [markdown]
# ## What it wrote

# %%
for path in sorted(out.rglob("*")):
    if path.is_file() and "checkpoint" not in str(path):
        print(path.relative_to(out), path.stat().st_size)

# %% [markdown]
# One line of metrics a step. The names are in [Algorithms](../algorithms.md#names-of-metrics).

# %%
rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
imitation = [row for row in rows if row["stage"] == "sft"]
steps = [row for row in rows if row["stage"] == "rl"]
for row in steps:
    print({key: row[key] for key in ("step", "reward", "code_ratio", "pass_ratio", "accuracy")})

# %% [markdown]
# Learning has two parts. While the model imitates, its loss falls, and the tool appears in its answers. Under GRPO the reward decides: what was paid more often in a group becomes more likely. A group whose answers were all paid alike teaches nothing (`frac_reward_zero_std`), which with few problems and a small model is frequent.

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot([row["step"] for row in imitation], [row["loss"] for row in imitation], "o-")
left.set(title="imitation", xlabel="step", ylabel="loss", ylim=(0, None))
for name in ("code_ratio", "accuracy", "frac_reward_zero_std"):
    right.plot([row["step"] for row in steps], [row[name] for row in steps], "o-", label=name)
right.set(title="GRPO", xlabel="step", ylim=(-0.05, 1.05))
right.legend()
figure

# %%
assert imitation[-1]["loss"] < imitation[0]["loss"] / 2  # it has learned the form of a call

# %% [markdown]
# ## What the model wrote
#
# Every answer is kept with its turns, statuses and verdict.

# %%
from agents.core.run import transcripts

answers = [answer for _, answer in transcripts.read(out / "transcripts")]
best = max(answers, key=lambda answer: answer.reward)
print(best.question)
for turn in best.turns:
    print(turn.text, turn.observation, sep="")
print(best.verdict, best.reward)

# %% [markdown]
# ## Evaluate
#
# In the environment of the run, on problems that it did not train on. With 6 problems the interval is wide: it says so.

# %%
run.evaluate(count=6).table()

# %% [markdown]
# ## The page
#
# One HTML file with curves, tables, transcripts and filters, and no network.

# %%
from torl.__main__ import main

assert main(["report", str(out), "--out", str(out / "report.html")]) == 0
print((out / "report.html").stat().st_size // 1024, "KiB")
