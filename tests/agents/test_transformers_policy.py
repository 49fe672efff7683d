"""The decode loop against teacher forcing: what it says it sampled is what the model would say."""

import pytest
import torch
import transformers

from agents.core.policies.base import RowStart
from agents.core.policies.row_cache import (
    RowCache,
    UnsupportedModelError,
    rows_that_fit,
    sliding_window,
)
from agents.core.policies.transformers import TransformersPolicy
from agents.core.testing.tiny import tiny_model
from agents.core.types import FinishReason, Sampling

PROMPTS = ["What is 2 + 2?", "What is 2 + 2?", "A much longer question than the one before it."]
SEEDS = [11, 12, 13]


def never(text):
    return False


def run(policy, prompts, seeds, how, on_end=lambda c: None):
    """Advance until every row has ended; `on_end` may resume a row by returning ids."""
    policy.open(list(map(RowStart, prompts, seeds)), how)
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


@pytest.mark.parametrize("output", [" Wrong, again.", ""])
def test_a_row_that_goes_on_has_read_the_id_that_ended_its_turn(tokenizer, model, prompts, output):
    policy = TransformersPolicy(model, tokenizer)
    policy.end_ids = frozenset(range(60, 130))
    forced = tokenizer.encode(output, add_special_tokens=False)
    ended = []

    def answer(completion):
        ended.append(completion)
        return forced if len(ended) <= 4 else None

    how = Sampling(temperature=1.0, max_tokens=200)
    ids, logprobs, mask, _ = run(policy, prompts, SEEDS, how, answer)
    assert [c.finish for c in ended] == [FinishReason.EOS] * len(ended)
    assert len(ended) == 4 + len(prompts)
    for row, prompt in enumerate(prompts):
        expected = teacher_forced(model, prompt, ids[row], 1.0)
        sampled = [(p, q) for p, q, m in zip(logprobs[row], expected, mask[row], strict=True) if m]
        assert [p for p, _ in sampled] == pytest.approx([q for _, q in sampled], abs=1e-4)


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
        for computed, true, sampled in zip(logprobs[row], expected, mask[row], strict=True):
            assert computed == (pytest.approx(true, abs=2e-4) if sampled else 0.0)


FAMILIES = {
    "all layers slide": ("Mistral", {"sliding_window": 16}),
    "every other layer slides": ("Gemma2", {"sliding_window": 16, "query_pre_attn_scalar": 8}),
    "the last layers slide": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2},
    ),
    "absolute positions": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
}


def family(name, tokenizer, **options):
    """A tiny random model of another architecture."""
    torch.manual_seed(0)
    return tiny_model(tokenizer, layers=4, spread=0.5, family=name, **options)


@pytest.mark.parametrize("case", FAMILIES)
def test_waiting_leaves_windows_and_positions_alone(tokenizer, prompts, case):
    """A row that held masked columns while it waited left a window of 16 after eight passes."""
    name, options = FAMILIES[case]
    model = family(name, tokenizer, **options)
    policy = TransformersPolicy(model, tokenizer, lambda t: len(t) == 6, marker="")
    policy.open(list(map(RowStart, prompts, SEEDS)), Sampling(max_tokens=70))
    output = tokenizer.encode("eight ch")
    ids, logprobs, mask = ([[] for _ in prompts] for _ in range(3))
    due, passes, live = {}, 0, {0, 1, 2}
    while live:
        for completion in policy.advance():
            row = completion.row
            ids[row] += completion.ids
            logprobs[row] += completion.logprobs
            mask[row] += [1] * len(completion.ids)
            if completion.finish is FinishReason.STOP and policy.remaining(row) > len(output):
                due[row] = passes + 9 * (row + 1)
            else:
                policy.release(row)
                live.discard(row)
        for row in [row for row, when in due.items() if when <= passes]:
            del due[row]
            ids[row] += output
            logprobs[row] += [0.0] * len(output)
            mask[row] += [0] * len(output)
            policy.resume(row, output)
        passes += 1
    assert sum(map(len, ids)) > 100
    for row, prompt in enumerate(prompts):
        expected = teacher_forced(model, prompt, ids[row], 1.0)
        for here, true, sampled in zip(logprobs[row], expected, mask[row], strict=True):
            assert not sampled or here == pytest.approx(true, abs=5e-4)


@pytest.mark.parametrize("name", ["Mamba", "Qwen3Next", "Llama4Text", "Bloom"])
def test_a_model_whose_rows_cannot_wait_is_refused_by_name(name):
    with pytest.raises(UnsupportedModelError, match=r"cannot run \w+ \(.*Use --policy vllm"):
        sliding_window(getattr(transformers, f"{name}Config")())


def test_every_declared_end_token_ends_an_answer(model, tokenizer, prompts):
    """Gemma's `<end_of_turn>` is not its tokenizer's end of sequence: answers ran to the limit."""
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(40, 200)]
    policy = TransformersPolicy(model, tokenizer, never)
    ids, _, _, finish = run(policy, prompts, SEEDS, Sampling(max_tokens=60))
    for row in range(3):
        assert finish[row] is FinishReason.EOS
        assert ids[row][-1] in policy.end_ids
        assert not set(ids[row][:-1]) & policy.end_ids


def test_weights_that_change_without_a_trace_are_those_of_the_next_batch(model, tokenizer, prompts):
    """As fused optimisers change them: packed copies of the last batch went on sampling."""
    policy = TransformersPolicy(model, tokenizer, never)
    how = Sampling(max_tokens=12)
    run(policy, prompts, SEEDS, how)
    for weight in model.parameters():
        weight.data.mul_(1.5)
    ids, logprobs, *_ = run(policy, prompts, SEEDS, how)
    for row, prompt in enumerate(prompts):
        expected = teacher_forced(model, prompt, ids[row], 1.0)
        assert logprobs[row] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("length", [1, 8, 300])
def test_tool_output_is_read_in_one_pass(model, tokenizer, prompts, length):
    """Whatever its length, also beyond the room that the cache began with."""
    policy = TransformersPolicy(model, tokenizer, lambda t: len(t) == 6, marker="")
    widths = []
    hook = model.register_forward_pre_hook(
        lambda module, args, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    output = [5 + i % 90 for i in range(length)]
    once = set()

    def answer(completion):
        first = completion.row not in once and completion.finish is FinishReason.STOP
        once.add(completion.row)
        return output if first else None

    ids, logprobs, mask, _ = run(policy, prompts, SEEDS, Sampling(max_tokens=400), answer)
    hook.remove()
    assert set(widths[1:]) <= {1, length}
    for row, prompt in enumerate(prompts):
        expected = teacher_forced(model, prompt, ids[row], 1.0)
        for here, true, sampled in zip(logprobs[row], expected, mask[row], strict=True):
            assert not sampled or here == pytest.approx(true, abs=2e-4)


def test_what_all_prompts_begin_with_is_read_once(model, tokenizer):
    system = tokenizer.encode("The same system text.")
    prompts = [system + tokenizer.encode(text) for text in ("one", "eleven", "eleven", "no")]
    read = []
    hook = model.register_forward_pre_hook(
        lambda module, args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    policy = TransformersPolicy(model, tokenizer, never)
    ids, logprobs, *_ = run(policy, prompts, [1, 2, 3, 4], Sampling(max_tokens=20))
    hook.remove()
    # Three that differ, the longest of six characters.
    assert read[:2] == [(1, len(system)), (3, 6)]
    for row, prompt in enumerate(prompts):
        assert logprobs[row] == pytest.approx(teacher_forced(model, prompt, ids[row], 1), abs=2e-4)


def test_rows_that_are_gone_take_part_in_no_pass(model, tokenizer, prompts):
    starts = [*prompts, *prompts]
    policy = TransformersPolicy(model, tokenizer, never)
    rows = []
    hook = model.register_forward_pre_hook(
        lambda module, args, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    policy.open(
        [RowStart(p, i, max_tokens=5 + 4 * (i % 3)) for i, p in enumerate(starts)],
        Sampling(max_tokens=13),
    )
    policy.end_ids = frozenset()
    found, live = {}, set(range(6))
    while live:
        for completion in policy.advance():
            found[completion.row] = completion
            policy.release(completion.row)
            live.discard(completion.row)
    hook.remove()
    # Rows of 5, 9 and 13 ids end two by two, and are released after the pass in which they end.
    assert rows[1:] == [6] * 5 + [4] * 4 + [2] * 3
    for row, completion in found.items():
        expected = teacher_forced(model, starts[row], completion.ids, 1.0)
        assert list(completion.logprobs) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("output", ["ten more", ""])
def test_a_row_that_waits_samples_what_it_would_have_at_once(model, tokenizer, prompts, output):
    """Row 0 waits eleven passes for its tool and then samples what it would have at once."""
    how = Sampling(max_tokens=59)

    def play(wait):
        policy = TransformersPolicy(model, tokenizer, lambda t: len(t) == 6, marker="")
        policy.open(list(map(RowStart, prompts, SEEDS)), how)
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
    policy.open([RowStart(prompts[0])], Sampling(max_tokens=8))
    while not policy.advance():
        pass
    with pytest.raises(ValueError, match="5 ids do not fit into the 5 left"):
        policy.resume(0, [5] * 5)


def test_rows_must_be_released_before_the_next_batch(model, tokenizer, prompts):
    policy = TransformersPolicy(model, tokenizer, never)
    policy.open(list(map(RowStart, prompts)), Sampling())
    with pytest.raises(RuntimeError, match="3 rows"):
        policy.open(list(map(RowStart, prompts)), Sampling())


def test_a_prompt_longer_than_the_window_is_refused_with_the_numbers(model, tokenizer):
    policy = TransformersPolicy(model, tokenizer, never)
    with pytest.raises(ValueError, match="up to 2040 tokens and its response take 2060 tokens"):
        policy.open([RowStart([5] * 2040)], Sampling(max_tokens=20))
    policy.open([RowStart([5] * 20)], Sampling(max_tokens=20))


def test_a_turn_that_goes_on_is_read_whole(model, tokenizer, prompts):
    """Six ids of the prompt begin the turn; it closes when the whole is seven characters long."""
    policy = TransformersPolicy(model, tokenizer, lambda text: len(text) >= 7, marker="")
    starts = [RowStart(prompts[0], SEEDS[0], 6, 30), RowStart(prompts[1], SEEDS[1], 0, 3)]
    policy.open(starts, Sampling(max_tokens=30))
    ended = {}
    while len(ended) < 2:
        for completion in policy.advance():
            ended[completion.row] = completion
            policy.release(completion.row)
    assert len(ended[0].ids) < 7
    assert ended[0].finish is FinishReason.STOP
    assert (len(ended[1].ids), ended[1].finish) == (3, FinishReason.LENGTH)


def test_rows_beyond_the_memory_wait_and_sample_what_they_would_have(model, tokenizer, prompts):
    starts = [*prompts, *prompts, prompts[2]]
    seeds, how = list(range(20, 27)), Sampling(max_tokens=30)
    calls = set()

    def answer(completion):
        first = completion.row not in calls and completion.finish is FinishReason.STOP
        calls.add(completion.row)
        return tokenizer.encode("out") if first else None

    def play(max_rows):
        calls.clear()
        policy = TransformersPolicy(
            model, tokenizer, lambda t: len(t) == 6, marker="", max_rows=max_rows
        )
        widest = []
        hook = model.register_forward_pre_hook(
            lambda module, args, given: widest.append(len(given["input_ids"])), with_kwargs=True
        )
        found = run(policy, starts, seeds, how, answer)
        hook.remove()
        return found, max(widest)

    (ids, logprobs, mask, finish), unbounded = play(None)
    (same, near, same_mask, same_finish), bounded = play(3)
    assert (unbounded, bounded) == (7, 3)
    assert (same, same_mask, same_finish) == (ids, mask, finish)
    for row, values in logprobs.items():
        assert near[row] == pytest.approx(values, abs=2e-4)


def test_rows_that_fit_are_those_whose_cache_has_room(model):
    one = rows_that_fit(model, 60, free=1e8)
    assert rows_that_fit(model, 120, free=1e8) < one < rows_that_fit(model, 60, free=2e8)
    assert rows_that_fit(model, 60, free=1.0) == 1
    cache = model(torch.zeros(one, 60, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    logits = 4 * one * model.config.vocab_size
    assert held + logits < 1e8


@pytest.mark.parametrize("columns", [1, 63, 64, 65, 127, 128])
def test_what_no_row_reads_has_a_column_beyond_all_that_are_read(columns):
    made = RowCache(0, columns)
    assert made.trash >= columns
    grown = RowCache(0, 1)
    grown.reserve(columns)
    assert grown.trash >= grown.read
