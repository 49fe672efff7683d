"""One step of each kind of loss on rows written by hand, as one process or as several."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from one_step import BATCH, PROBLEMS, FixedSampler, one_step, trajectory

from agents.core.loss import Loss
from agents.core.models.lora import whole
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


class Share(FixedSampler):
    """Hands out the rows of the problems that a process asks for."""

    def collect(self, problems, group_size, seed):
        starts = [group_size * PROBLEMS.index(problem) for problem in problems]
        return [t for start in starts for t in self.rows[start : start + group_size]]

    def rest(self):
        pass


class Branching(GRPO):
    """Samples more from inside the first group, which one process alone has."""

    @property
    def branches(self):
        return True

    def branch(self, groups, brancher, seed):
        return [STEP] if any(t is BATCH[0] for group in groups for t in group) else []


class Lopsided(GRPO):
    """Has a term in one process alone; an exchange of it by itself would hang the others."""

    def extra_loss(self, batch):
        return {"odd": 0.0 * batch.mean(batch.logprobs)} if distributed.is_main() else {}


CASES = {
    "lopsided": (Lopsided(), BATCH, {}),
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
    model = tiny_model(tokenizer)
    for name, (algorithm, rows, more) in CASES.items():
        options = {"algorithm": algorithm, "sampler": Share(rows), "micro_batch": 2, **more}
        one_step(model, tokenizer, out / name, rows, learning_rate=1e-3, **options)
    evaluate(out)
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
