"""One step of the real trainer on rows written by hand, and the same numbers without it."""

import copy

import torch

from agents.core.run.folder import Run
from agents.core.trainer.options import Training
from agents.core.trainer.trainer import RLTrainer
from agents.core.types import Trajectory, Turn
from agents.grpo import GRPO
from torl_env.problems.types import Problem

PROBLEMS = [Problem(f"p{i}", f"Q{i}", str(i)) for i in range(2)]


def trajectory(prompt, ids, mask, reward, *, scorable=True, turns=None):
    turn = Turn("x", "", 0, len(ids), "final", "", "", reward)
    return Trajectory(
        problem_id="p",
        prompt_ids=prompt,
        ids=ids,
        loss_mask=mask,
        logprobs=[0.0] * len(ids),
        turns=turns or (turn,),
        reward=reward,
        verdict="correct" if reward > 0 else "wrong",
        answer="",
        tool_calls=0,
        tool_errors=0,
        stop_reason="final",
        truncated=False,
        scorable=scorable,
    )


BATCH = [
    trajectory((5, 6, 7), (10, 11, 12, 13, 0), (1, 1, 0, 0, 1), 1.0),
    trajectory((5, 6, 7), (14, 15, 0), (1, 1, 1), -1.0),
    trajectory((5, 6, 7), (16, 17, 18, 19, 20, 21, 0), (1, 0, 0, 1, 1, 1, 1), -1.0),
    trajectory((5, 6, 7), (22, 0), (1, 1), 1.0),
    trajectory((8,), (23, 24, 0), (1, 1, 1), 1.0),
    trajectory((8,), (25, 26, 27, 0), (1, 1, 1, 1), 1.0),
    trajectory((8,), (28, 0), (1, 1), 1.0),
    trajectory((8,), (29, 30, 0), (1, 1, 1), 1.0),
]


class FixedSampler:
    def __init__(self, rows):
        self.rows = rows

    def sync(self, model):
        pass

    def collect(self, problems, group_size, seed):
        return self.rows

    def rest(self):
        pass


def trainer_of(
    model, tokenizer, path, rows=BATCH, algorithm=None, sampler=None, problems=PROBLEMS, **training
):
    """A trainer of `model` itself on given rows."""
    options = {"steps": 1, "learning_rate": 1e-2, "micro_batch": 8, "dtype": "float32", **training}
    return RLTrainer(
        model=model,
        tokenizer=tokenizer,
        algorithm=algorithm or GRPO(),
        training=Training(**{"prompts_per_step": 2, "group_size": 4, **options}),
        problems=problems,
        sampler=sampler or FixedSampler(rows),
        run=Run(path),
    )


def one_step(model, tokenizer, path, rows=BATCH, **options):
    """Weights after one step from `model`, which stays as it is, and the norm of its gradient."""
    trained = copy.deepcopy(model)
    trainer = trainer_of(trained, tokenizer, path, rows, **options)
    trainer.train()
    grad_norm = trainer.state.log_history[0]["grad_norm"]
    return {n: p.detach().clone() for n, p in trained.named_parameters()}, grad_norm


def same(a, b, tolerance=2e-4):
    return all(torch.allclose(a[name], b[name], atol=tolerance) for name in a)


def log_likelihood(model, t):
    logits = model(torch.tensor([[*t.prompt_ids, *t.ids]])).logits[0, len(t.prompt_ids) - 1 : -1]
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(t.ids)[:, None]).squeeze(-1)


def norm_of(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item()
