"""One step of each kind of loss on rows written by hand, as one process or as several."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from one_step import BATCH, PROBLEMS, FixedSampler, one_step, trajectory

from agents.core.loss import Loss
from agents.core.models.lora import whole
from agents.core.replay import Replay
from agents.core.testing.tiny import byte_tokenizer, tiny_model
from agents.core.trainer import distributed
from agents.grpo import GRPO
from agents.ppo import PPO
from torl.training.shared_collect import SharedCollect
from torl.wiring import Collecting
from torl_env.problems.types import Problem

LOST = trajectory((5, 6, 7), (31, 32, 0), (1, 1, 1), -1.0, scorable=False)
STEP = [
    trajectory((5, 6, 7, 10), (40, 41, 42, 0), (1, 1, 1, 1), 1.0),
    trajectory((5, 6, 7, 10), (43, 0), (1, 1), 0.0),
]


MORE = [*PROBLEMS, *(Problem(f"spare{i}", f"S{i}", "") for i in range(2))]


class Share(FixedSampler):
    """Hands out the rows of the problems that a process asks for, those of `p0` for spare ones."""

    def collect(self, problems, group_size, seed):
        starts = [4 if problem == PROBLEMS[1] else 0 for problem in problems]
        again = range(group_size // 4)
        return [replace(t) for i in starts for _ in again for t in self.rows[i : i + 4]]

    def rest(self):
        pass


class Forgetful(Share):
    """Gets one answer to `p1` right in the first step, and none in the second."""

    step = 0

    def sync(self, model):
        self.step += 1

    def collect(self, problems, group_size, seed):
        again = self.step > 1
        rows = super().collect(problems, group_size, seed)
        return [
            replace(t, reward=-1.0, verdict="wrong") if again and t.problem_id == "q" else t
            for t in rows
        ]


class Branching(GRPO):
    """Samples more from inside the first group, which one process alone has."""

    @property
    def branches(self):
        return True

    def branch(self, groups, brancher, seed):
        return [STEP] if any(t is BATCH[0] for group in groups for t in group) else []


class Lopsided(GRPO):
    """Has a term, and gradients of its own module, in one process alone.

    An exchange of either by itself would hang the others.
    """

    def auxiliary_module(self, model):
        return torch.nn.Linear(1, 1)

    def extra_loss(self, batch):
        if not distributed.is_main():
            return {}
        return {"odd": 0.0 * batch.mean(batch.auxiliary(batch.logprobs[..., None]).squeeze(-1))}


HALF_LOST = [*BATCH[:4], *(replace(t, scorable=False) for t in BATCH[4:])]
RARE = [
    *BATCH[:4],
    replace(BATCH[4], problem_id="q"),
    *(replace(t, problem_id="q", reward=-1.0, verdict="wrong") for t in BATCH[5:]),
]

CASES = {
    "lopsided": (Lopsided(), BATCH, {}),
    # Below, the second process is the one whose rows are lost, teach nothing, or are sampled anew.
    "all of one lost": (GRPO(loss=Loss(nll=0.5)), HALF_LOST, {}),
    "entropy": (GRPO(loss=Loss(entropy_top=0.5)), HALF_LOST, {}),
    "critic without rows": (PPO(), HALF_LOST, {}),
    "sampled anew": (GRPO(resample=1, oversample=2), BATCH, {"problems": MORE}),
    "replayed": (
        GRPO(),
        RARE,
        {
            "steps": 2,
            "replay": Replay(keep=1, rare=0.3),
            "problems": 2 * PROBLEMS,
            "sampler": Forgetful(RARE),
        },
    ),
    # Scored before the first update, in passes that the widths of one process do not decide.
    "scored": (GRPO(), BATCH, {"micro_batch_tokens": 14, "epochs": 2}),
    "token": (GRPO(), BATCH, {}),
    # One process has rows of many lengths and more passes than the other.
    "cut": (GRPO(loss=Loss(mean="sequence")), BATCH, {"micro_batch_tokens": 14}),
    "responses": (GRPO(loss=Loss(mean="sequence", nll=0.5)), BATCH, {}),
    "lost": (GRPO(), [*BATCH[:3], LOST, *BATCH[4:]], {}),
    "branches": (Branching(), BATCH, {"epochs": 2}),
    "critic": (PPO(), BATCH, {"epochs": 2}),
}


class Answering:
    """A rollout that notes how many episodes it is asked for at once."""

    def __init__(self):
        self.asked = []

    def collect(self, problems, group_size, seed, **_):
        self.asked.append(len(problems) * group_size)
        rows = [(p, s) for p in problems for s in range(group_size)]
        return [replace(BATCH[0], problem_id=p.id, sample=s, answer=str(seed)) for p, s in rows]


def evaluate(out):
    """7 problems x 2 samples, at most 4 episodes of a process at a time."""
    problems = [Problem(f"p{i}", f"Q{i}", "") for i in range(7)]
    rollout = Answering()
    shared = SharedCollect(Collecting(rollout, 4))
    if distributed.is_main():
        with shared:
            found = [[t.problem_id, t.sample, t.answer] for t in shared(problems, 2, 5)]
            found += [[t.problem_id, t.sample, t.answer] for t in shared(problems[:1], 2, 6)]
        (out / "answers.json").write_text(json.dumps(found))
    else:
        shared.follow()
    (out / f"asked-{distributed.rank()}.json").write_text(json.dumps(rollout.asked))


def check_sharded():
    """A weight that FSDP 2 would shard comes back whole, in each process."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    weight = torch.arange(6.0)
    mesh = init_device_mesh("cpu", (distributed.world_size(),))
    assert torch.equal(whole(distribute_tensor(weight, mesh, [Shard(0)])), weight)


def main(out):
    torch.set_num_threads(1)
    distributed.join()
    if distributed.world_size() > 1:
        check_sharded()
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model, passes = tiny_model(tokenizer), []
    # Copies that are trained keep the hook.
    model.model.register_forward_hook(lambda *_: passes.append(1))
    for name, (algorithm, rows, more) in CASES.items():
        options = {"algorithm": algorithm, "sampler": Share(rows), "micro_batch": 2, **more}
        passes.clear()
        one_step(model, tokenizer, out / name, rows, learning_rate=1e-3, **options)
        counts = distributed.gather([len(passes)])
        if distributed.is_main():
            (out / name / "passes.json").write_text(json.dumps(counts))
    evaluate(out)
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
