# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 2. Train and report
#
# The laptop run in small: SmolLM2-135M imitates a few tool transcripts, then learns by GRPO. Two steps instead of twelve, so that it ends in some minutes: enough to see every file that a run writes, not enough for a claim. The whole run is `make demo`.

# %%
import json
import tempfile
from pathlib import Path

import torl

out = Path(tempfile.mkdtemp()) / "run"
run = torl.train(
    "smollm2",
    problems="procedural:easy:L1-2",
    steps=2,
    prompts=4,
    group=4,
    warm_start=32,
    max_tokens=80,
    eval_problems=8,
    save_every=2,
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
steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
steps = [row for row in steps if "reward" in row]
for row in steps:
    print({key: round(row[key], 3) for key in ("step", "reward", "code_ratio", "pass_ratio")})

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3))
for name in ("code_ratio", "pass_ratio", "accuracy"):
    axes.plot([row["step"] for row in steps], [row[name] for row in steps], "o-", label=name)
axes.set(xlabel="step", ylim=(-0.05, 1.05))
axes.legend()
figure

# %% [markdown]
# ## What the model wrote
#
# Every answer is kept with its turns, statuses and verdict.

# %%
(transcripts,) = sorted((out / "transcripts").glob("*.jsonl"))[-1:]
rows = [json.loads(line) for line in transcripts.read_text().splitlines()]
best = max(rows, key=lambda row: row["reward"])
print(best["question"])
for turn in best["turns"]:
    print(turn["text"], turn["observation"], sep="")
print(best["verdict"], best["reward"])

# %% [markdown]
# ## Evaluate
#
# In the environment of the run, on problems that it did not train on. With 8 problems the interval is wide: it says so.

# %%
run.evaluate(count=8).table()

# %% [markdown]
# ## The page
#
# One HTML file with curves, tables, transcripts and filters, and no network.

# %%
from torl.__main__ import main

assert main(["report", str(out), "--out", str(out / "report.html")]) == 0
print((out / "report.html").stat().st_size // 1024, "KiB")
