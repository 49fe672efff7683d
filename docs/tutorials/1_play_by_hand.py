# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 1. Play by hand
#
# You are the policy: you write the turns, and look at everything that the environment says. Less than a minute.

# %%
import re

import gymnasium as gym

import torl_env

env = gym.make("torl_env:ToRLMath-v0", problems="procedural:gcd", tool_budget=2)
question, info = env.reset(seed=0)
print(question)
a, b = re.findall(r"\d+", question)

# %% [markdown]
# `info` has the same keys after every reset and step. The reference answer is none of them.

# %%
for key, value in info.items():
    print(f"{key:20} {value!r}")

# %% [markdown]
# A turn that ends with a closed `python` block is a call. What the program printed is the observation: only the new text, never the whole conversation.

# %%
call = f"I compute it.\n```python\nimport math\nprint(math.gcd({a}, {b}))\n```"
observation, reward, terminated, truncated, info = env.step(call)
print(observation, reward, terminated, truncated)
print(info["action_kind"], info["tool_status"], info["tool_calls"])
found = re.search(r"\d+", observation)[0]

# %% [markdown]
# A program that fails is the model's fault and a value: a status, and the last line of its traceback. It counts against the budget.

# %%
observation, *_, info = env.step(f"```python\nprint(math.gcd({a}, {b}))\n```")
print(observation)
print(info["tool_status"], info["error_type"], info["tool_errors"])

# %% [markdown]
# The budget of two calls is used up. A further call is text, and the turn goes on (`continue_generation`): that is ToRL's rule, `over_budget="ignore"`.

# %%
observation, *_, info = env.step("```python\nprint(1)\n```")
print(repr(observation), info["action_kind"], info["continue_generation"])

# %% [markdown]
# Any other turn is the answer. Its last `\boxed{}` is graded, and only now there is a reward.

# %%
observation, reward, terminated, truncated, info = env.step(f"So it is \\boxed{{{found}}}.")
print(reward, terminated, info["verdict"], info["answer"], info["reward_terms"])
print(info["stop_reason"], "scorable:", torl_env.is_scorable(info))
assert reward == 1.0

# %% [markdown]
# ## The transcript
#
# Appending actions and observations gives the text that a model would be trained on. `render_mode="ansi"` shows it.

# %%
shown = gym.make("torl_env:ToRLMath-v0", problems="procedural:gcd", render_mode="ansi")
shown.reset(seed=0)
shown.step("Let me see.\n```python\nprint(6 * 7)\n```")
shown.step("I say \\boxed{42}.")
print(shown.render())

# %% [markdown]
# ## Going back, and branching
#
# The state of an episode, its live interpreter included, can be kept, restored and copied. Here one interpreter becomes three.

# %%
stateful = gym.make("torl_env:ToRLMath-v0", stateful=True, tool_budget=4)
stateful.reset(seed=1)
stateful.step("```python\nx = 40\n```")
for number, twin in enumerate(stateful.branch(3)):
    print(twin.step(f"```python\nx += {number}; print(x)\n```")[0].strip().splitlines()[1])

# %% [markdown]
# ## Many at once
#
# A vector environment steps whichever episode is ready: `send` starts, `recv` takes what has ended.

# %%
envs = gym.make_vec("torl_env:ToRLMath-v0", num_envs=4, autoreset_mode="Disabled")
envs.reset(seed=0)
slow, fast = "import time; time.sleep(0.5); print('slow')", "print('fast')"
turns = [f"```python\n{slow if i == 0 else fast}\n```" for i in range(4)]
envs.send(turns, ids=range(4))
order = []
while len(order) < 4:
    order += [result.env_id for result in envs.recv(min_ready=1)]
print(order)
assert order[-1] == 0

# %%
for one in (env, shown, stateful, envs):
    one.close()
