"""The same GRPO agent learns in another domain: to search before it answers."""

import importlib.util
import statistics
from functools import partial
from pathlib import Path

import pytest
import torch

from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.run.folder import Run
from agents.core.testing.tiny import byte_tokenizer, tiny_model
from agents.core.trainer.options import Training
from agents.core.trainer.trainer import RLTrainer
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling
from agents.grpo import GRPO
from rewards import Reward
from torl_env import ToRLMathVectorEnv, closes_tool_call
from torl_env.problems import Listed

EXAMPLE = Path(__file__).parents[2] / "examples" / "second_domain.py"
spec = importlib.util.spec_from_file_location("second_domain", EXAMPLE)
domain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(domain)

GROUP = 8
TOKENS = 220


def make_envs(problems, group_size):
    return ToRLMathVectorEnv(
        len(problems) * group_size,
        problems=Listed("library", problems),
        tools=(domain.search,),
        grader=domain.exact_words,
        reward=Reward("library", {"looked_it_up": domain.looked_it_up}),
        autoreset_mode="Disabled",
    )


def transcripts(problems, tokenizer, prompt):
    """Ids and mask of two ways through each problem: searched for, and answered at once."""
    rows = []
    envs = make_envs(problems, 2)
    envs.reset(options={"problem_ids": [p.id for p in problems], "group_size": 2})
    eos = [tokenizer.eos_token_id]
    encode = partial(tokenizer.encode, add_special_tokens=False)
    for i, problem in enumerate(problems):
        question, answer = prompt.question_ids(problem.question), f"Answer: {problem.answer}"
        call = domain.play(problem.question, "")
        envs.send([call], [2 * i])
        shown = envs.recv()[0].observation
        for parts in ([(call, 1), (shown, 0), (answer, 1)], [(answer, 1)]):
            ids, mask = list(question), [0] * len(question)
            for text, sampled in parts:
                ids += encode(text)
                mask += [sampled] * len(encode(text))
            rows.append((ids + eos, [*mask, 1]))
    envs.close()
    return rows


def imitate(model, rows, steps):
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    mask = torch.tensor([mask + [0] * (width - len(mask)) for _, mask in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        logits = model(ids).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), ids[:, 1:], reduction="none"
        )
        loss = (losses * mask[:, 1:]).sum() / mask[:, 1:].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return loss.item()


@pytest.mark.slow
def test_grpo_learns_to_search(tmp_path):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    model, copy = (tiny_model(tokenizer, hidden=64, layers=2) for _ in range(2))
    prompt = PlainPrompt(tokenizer, "{question}\n")
    problems = list(domain.library_problems())
    imitate(model, transcripts(problems, tokenizer, prompt), steps=220)

    envs = make_envs(problems, 1)
    policy = TransformersPolicy(copy, tokenizer, partial(closes_tool_call, parser=envs.parser))
    envs.close()
    rollout = Rollout(policy, prompt, make_envs, Sampling(max_tokens=TOKENS))
    sampler = CopySampler(rollout, copy)

    def evaluate():
        sampler.sync(model)
        found = sampler.collect(problems, GROUP, seed=99)
        return (
            statistics.mean(t.reward for t in found),
            statistics.mean(t.tool_calls for t in found),
        )

    before = evaluate()
    steps = 6
    RLTrainer(
        model=model,
        tokenizer=tokenizer,
        algorithm=GRPO(),
        training=Training(
            steps=steps,
            prompts_per_step=len(problems),
            group_size=GROUP,
            learning_rate=2e-4,
            micro_batch=64,
            max_tokens=TOKENS,
            save_every=100,
            dtype="float32",
        ),
        problems=problems * steps,
        sampler=sampler,
        run=Run(tmp_path),
    ).train()
    after = evaluate()
    assert 0.2 < before[1] < 0.8, f"it begins by searching in some episodes: {before}"
    assert after[1] > before[1] + 0.2, f"calls per episode: {before[1]:.2f} to {after[1]:.2f}"
    assert after[0] > before[0] + 0.15, f"reward: {before[0]:.2f} to {after[0]:.2f}"
