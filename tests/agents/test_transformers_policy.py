"""The decode loop against teacher forcing: what it says it sampled is what the model would say."""

import pytest
import torch

from agents.core.policies.transformers import TransformersPolicy
from agents.core.testing.tiny import tiny_model
from agents.core.types import FinishReason, Sampling

PROMPTS = ["What is 2 + 2?", "What is 2 + 2?", "A much longer question than the one before it."]
SEEDS = [11, 12, 13]


def never(text):
    return False


def run(policy, prompts, seeds, how, on_end=lambda c: None):
    """Advance until every row has ended; `on_end` may resume a row by returning ids."""
    policy.open(prompts, seeds, how)
    ids = {row: [] for row in range(len(prompts))}
    logprobs = {row: [] for row in range(len(prompts))}
    mask = {row: [] for row in range(len(prompts))}
    finish = {}
    while len(finish) < len(prompts):
        for completion in policy.advance():
            row = completion.row
            ids[row] += completion.ids
            logprobs[row] += completion.logprobs
            mask[row] += [1] * len(completion.ids)
            forced = on_end(completion)
            if forced is None:
                finish[row] = completion.finish
                policy.release(row)
            else:
                ids[row] += forced
                logprobs[row] += [0.0] * len(forced)
                mask[row] += [0] * len(forced)
                policy.resume(row, forced)
    return ids, logprobs, mask, finish


def teacher_forced(model, prompt, ids, temperature):
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    scores = torch.log_softmax(logits.float() / temperature, -1)
    return scores.gather(-1, torch.tensor(ids)[:, None]).squeeze(-1).tolist()


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return tiny_model(tokenizer, spread=0.5)


@pytest.fixture
def prompts(tokenizer):
    return [tokenizer.encode(text) for text in PROMPTS]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_teacher_forcing_across_tool_calls(
    model, tokenizer, prompts, temperature
):
    """Rows call a tool at different times and wait for different lengths; the cache survives."""
    calls = {0: 0, 1: 0, 2: 0}

    def output(completion):
        row = completion.row
        if completion.finish is not FinishReason.STOP or calls[row] >= row + 1:
            return None
        calls[row] += 1
        return tokenizer.encode(f"out {row}" * (row + 1))

    policy = TransformersPolicy(model, tokenizer, lambda t: len(t) % 7 == 6, marker="")
    how = Sampling(temperature, max_tokens=90)
    ids, logprobs, mask, _ = run(policy, prompts, SEEDS, how, output)
    assert sum(calls.values()) >= 3
    for row, prompt in enumerate(prompts):
        expected = teacher_forced(model, prompt, ids[row], temperature)
        for told, true, sampled in zip(logprobs[row], expected, mask[row], strict=True):
            assert told == (pytest.approx(true, abs=2e-4) if sampled else 0.0)


@pytest.mark.parametrize("output", ["ten more", ""])
def test_a_waiting_row_is_masked_and_changes_nothing(model, tokenizer, prompts, output):
    """Row 0 waits eleven passes for its tool and then samples what it would have at once."""
    how = Sampling(max_tokens=59)

    def play(wait):
        policy = TransformersPolicy(model, tokenizer, lambda t: len(t) == 6, marker="")
        policy.open(prompts, SEEDS, how)
        written = {row: [] for row in range(3)}
        resume_at, passes, live = None, 0, {0, 1, 2}
        while live:
            for completion in policy.advance():
                row = completion.row
                written[row] += completion.ids
                if row == 0 and completion.finish is FinishReason.STOP and resume_at is None:
                    resume_at = passes + wait
                elif completion.finish is FinishReason.STOP:
                    policy.resume(row, [])
                else:
                    policy.release(row)
                    live.discard(row)
            if resume_at == passes:
                policy.resume(0, tokenizer.encode(output))
            passes += 1
        return written

    assert play(wait=0) == play(wait=11)


def test_a_row_samples_the_same_alone_and_in_company(model, tokenizer, prompts):
    policy = TransformersPolicy(model, tokenizer, never)
    how = Sampling(max_tokens=25)
    together, *_ = run(policy, prompts, SEEDS, how)
    for row in range(3):
        alone, *_ = run(policy, [prompts[row]], [SEEDS[row]], how)
        assert alone[0] == together[row]


def test_equal_prompts_with_other_seeds_differ(model, tokenizer, prompts):
    policy = TransformersPolicy(model, tokenizer, never)
    ids, *_ = run(policy, prompts, SEEDS, Sampling(max_tokens=25))
    assert ids[0] != ids[1]


def test_the_token_limit_holds_whatever_was_forced(model, tokenizer, prompts):
    policy = TransformersPolicy(model, tokenizer, lambda t: len(t) == 5, marker="")
    ids, _, _, finish = run(
        policy,
        prompts,
        SEEDS,
        Sampling(max_tokens=40),
        lambda c: (
            tokenizer.encode("abc")
            if c.finish is FinishReason.STOP and policy.remaining(c.row) > 3
            else None
        ),
    )
    for row in range(3):
        ended = finish[row] is FinishReason.EOS
        assert len(ids[row]) <= 40
        assert ended or len(ids[row]) > 40 - 4


def test_output_that_does_not_fit_is_refused(model, tokenizer, prompts):
    policy = TransformersPolicy(model, tokenizer, lambda t: len(t) == 3, marker="")
    policy.open(prompts[:1], [0], Sampling(max_tokens=8))
    while not policy.advance():
        pass
    with pytest.raises(ValueError, match="5 ids do not fit into the 5 left"):
        policy.resume(0, [5] * 5)


def test_rows_must_be_released_before_the_next_batch(model, tokenizer, prompts):
    policy = TransformersPolicy(model, tokenizer, never)
    policy.open(prompts, SEEDS, Sampling())
    with pytest.raises(RuntimeError, match="3 rows"):
        policy.open(prompts, SEEDS, Sampling())


def test_a_prompt_longer_than_the_window_is_refused_with_the_numbers(model, tokenizer):
    policy = TransformersPolicy(model, tokenizer, never)
    with pytest.raises(ValueError, match="up to 2040 tokens and its response take 2060 tokens"):
        policy.open([[5] * 2040], [0], Sampling(max_tokens=20))
    policy.open([[5] * 20], [0], Sampling(max_tokens=20))


def test_a_turn_that_goes_on_is_read_whole(model, tokenizer, prompts):
    """Six ids of the prompt begin the turn; it closes when the whole is seven characters long."""
    policy = TransformersPolicy(model, tokenizer, lambda text: len(text) >= 7, marker="")
    policy.open(
        prompts[:2],
        SEEDS[:2],
        Sampling(max_tokens=30),
        prefix_lengths=[6, 0],
        remaining_tokens=[30, 3],
    )
    ended = {}
    while len(ended) < 2:
        for completion in policy.advance():
            ended[completion.row] = completion
            policy.release(completion.row)
    assert len(ended[0].ids) < 7
    assert ended[0].finish is FinishReason.STOP
    assert (len(ended[1].ids), ended[1].finish) == (3, FinishReason.LENGTH)
