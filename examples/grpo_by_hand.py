"""GRPO in one file, with nothing but the vector environment and torch.

The policy is as small as it can be, so that this runs in seconds: a recurrent network over a few
phrases instead of a language model over a vocabulary. All that matters for learning with a tool is
here: sampled ids are kept, tool output is read but not trained on, advantages are relative to the
group, and the loss is a mean over sampled ids.
"""

import gymnasium as gym
import torch
from torch import nn

from torl_env.problems import Listed, Problem

PHRASES = (
    "<end>",
    "```python\nprint({question})\n```",
    "```python\nprint({question}\n```",
    "It must be \\boxed{{0}}.",
    "The output says \\boxed{{{output}}}.",
    "Hmm. ",
)
OUTPUT = len(PHRASES)
"""The id that stands for any tool output."""
GROUPS, GROUP_SIZE, LONGEST = 4, 8, 4


class Policy(nn.Module):
    """Reads ids, predicts the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(PHRASES) + 2, 16)
        self.read = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, len(PHRASES))

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """Logits of what follows each id, (B, L, phrases)."""
        return self.head(self.read(self.embed(ids_BL))[0])


def turn(policy: Policy, ids: list[int], mask: list[int], words: dict[str, str]) -> str:
    """Sample phrases until a program is closed or the answer ends."""
    text = ""
    while len(ids) < LONGEST:
        with torch.no_grad():
            logits = policy(torch.tensor([[len(PHRASES) + 1, *ids]]))[0, -1]
        choice = int(torch.distributions.Categorical(logits=logits).sample())
        ids.append(choice)
        mask.append(1)
        if choice == 0:
            break
        text += ("\n" if text else "") + PHRASES[choice].format(**words)
        if text.endswith("```"):
            break
    return text


def collect(envs: gym.vector.VectorEnv, policy: Policy) -> tuple[list, list, torch.Tensor]:
    """One episode in each env; ids, masks and rewards."""
    questions, _ = envs.reset(options={"group_size": GROUP_SIZE})
    rows = range(envs.num_envs)
    ids, masks = [[] for _ in rows], [[] for _ in rows]
    words = [{"question": q.split()[-1], "output": ""} for q in questions]
    rewards, live = torch.zeros(envs.num_envs), set(rows)
    while live:
        order = sorted(live)
        envs.send([turn(policy, ids[i], masks[i], words[i]) for i in order], order)
        for result in envs.recv(min_ready=len(order)):
            i = result.env_id
            rewards[i] += result.reward
            if result.terminated or result.truncated:
                live.discard(i)
            elif result.observation:  # else the budget is spent and the turn goes on as text
                words[i]["output"] = result.observation.split("\n")[2]
                ids[i].append(OUTPUT)
                masks[i].append(0)
    return ids, masks, rewards


def loss_of(policy: Policy, ids: list, masks: list, rewards: torch.Tensor) -> torch.Tensor:
    """The policy gradient at ratio 1: every batch is used once, so nothing can be clipped."""
    groups = rewards.view(GROUPS, GROUP_SIZE)
    advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-6)
    padded = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in masks], batch_first=True)
    start = torch.full((len(ids), 1), len(PHRASES) + 1)
    logprobs = policy(torch.cat([start, padded], 1)[:, :-1]).log_softmax(-1)
    # What the environment wrote has no probability here; its place is masked.
    chosen = logprobs.gather(-1, padded.clamp(max=len(PHRASES) - 1)[..., None]).squeeze(-1)
    return -(advantages.view(-1, 1) * chosen * mask).sum() / mask.sum()


def main() -> None:
    """Train for a few seconds; the reward goes from about -0.9 to nearly 1."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    problems = Listed(
        "products", [Problem(f"p{n}", f"Compute {n}*{n + 7}", str(n * (n + 7))) for n in range(64)]
    )
    envs = gym.make_vec(
        "torl_env:ToRLMath-v0",
        num_envs=GROUPS * GROUP_SIZE,
        problems=problems,
        autoreset_mode="Disabled",
    )
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.03)
    for step in range(1, 16):
        ids, masks, rewards = collect(envs, policy)
        loss_of(policy, ids, masks, rewards).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 1 or step % 5 == 0:
            used = sum(OUTPUT in row for row in ids) / len(ids)
            print(f"step {step:2}: reward {rewards.mean():+.2f}, tool used in {used:.0%}")
    envs.close()
    assert rewards.mean() > 0.5


if __name__ == "__main__":
    main()
