"""An episode against an engine of ids, with the environment and a real sandbox."""

import asyncio

import pytest

from agents.core.testing.tiny import byte_tokenizer
from torl_env import SandboxError
from torl_env.adapters.token_episode import PausedEpisode, Sampled, make_env, play
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "What is 6*7?", "42")
CALL = "I compute.\n```python\nprint(6*7)\n```"


class Bytes:
    """One id a byte; 0 ends a text."""

    all_special_ids = (0,)

    def encode(self, text, *, add_special_tokens=True):
        return list(text.encode())

    def decode(self, ids, **_):
        return bytes(i for i in ids if i).decode()


class Engine:
    """Writes given texts; stops at stop strings as servers do, keeping them."""

    def __init__(self, *texts, logprobs=True, piece=10_000):
        self.left = [(text, not text.endswith("```")) for text in texts]
        self.prompts = []
        self.logprobs = logprobs
        self.piece = piece

    async def __call__(self, ids, max_tokens, stop):
        self.prompts.append(list(ids))
        text, final = self.left.pop(0)
        end = min((text.index(s, 1) + len(s) for s in stop if s in text[1:]), default=len(text))
        end = min(end, self.piece)
        written = list(text[:end].encode())
        if text[end:]:
            self.left.insert(0, (text[end:], final))
        elif final:
            written.append(0)
        written = written[:max_tokens]
        return Sampled(written, [-0.5] * len(written) if self.logprobs else None)


def played(engine, max_tokens=400, **options):
    prompt = Bytes().encode("What is 6*7?")
    env = make_env(PROBLEM, options)
    return asyncio.run(play(env, prompt, Bytes(), engine, max_tokens))


def sampled(episode):
    return bytes(i for i, m in zip(episode.ids, episode.loss_mask, strict=True) if m and i).decode()


def test_ids_are_those_sampled_and_the_output_stands_between_them():
    engine = Engine(CALL, "So \\boxed{42}.")
    episode = played(engine)
    assert Bytes().decode(episode.ids) == CALL + "\n```output\n42\n```\nSo \\boxed{42}."
    assert sampled(episode) == CALL + "So \\boxed{42}."
    assert episode.logprobs == [-0.5 if m else 0.0 for m in episode.loss_mask]
    assert (episode.reward, episode.turns, episode.outputs) == (1.0, 2, 1)
    # What the engine reads is the prompt and all ids so far, never a text tokenised anew.
    assert engine.prompts[-1] == [*episode.prompt_ids, *episode.ids][: len(engine.prompts[-1])]


@pytest.mark.parametrize("piece", [1, 7])
def test_a_stop_or_an_abort_within_a_turn_changes_nothing(piece):
    whole = played(Engine(CALL, "So \\boxed{42}."))
    parts = played(Engine(CALL, "So \\boxed{42}.", piece=piece))
    assert parts.ids == whole.ids
    assert parts.loss_mask == whole.loss_mask


def test_a_call_past_the_budget_goes_on_as_text():
    episode = played(Engine(CALL, CALL, " \\boxed{42}"))
    assert sampled(episode) == CALL + CALL + " \\boxed{42}"
    assert episode.info["tool_calls"] == episode.outputs == 1


@pytest.mark.parametrize(("limit", "room"), [(20, 0), (len(CALL), 0), (len(CALL) + 10, 10)])
def test_the_limit_cuts_and_output_that_does_not_fit_is_left_out(limit, room):
    episode = played(Engine(CALL, "So \\boxed{42}."), max_tokens=limit)
    assert episode.truncated
    assert len(episode.ids) == limit - room
    assert all(episode.loss_mask)
    assert episode.info["stop_reason"] == "length"


def test_an_engine_without_logprobs_gives_none():
    assert played(Engine(CALL, "\\boxed{42}", logprobs=False)).logprobs is None


def test_a_broken_machine_and_an_undecided_grade_raise():
    with pytest.raises(SandboxError, match="no reward for problem p"):
        played(Engine(CALL, "x"), sandbox="fusion:http://127.0.0.1:9,retries=0").check()
    env = make_env(Problem("q", "?", "\\frac{"), {})
    ended = asyncio.run(play(env, [1], Bytes(), Engine("\\boxed{1}"), 400))
    with pytest.raises(SandboxError, match="could not decide"):
        ended.check()


def test_an_engine_that_writes_more_than_asked_is_refused():
    async def talks(ids, max_tokens, stop):
        return Sampled([65] * (max_tokens + 1))

    with pytest.raises(ValueError, match="at most 5 ids, the engine gave 6"):
        played(talks, max_tokens=5)


@pytest.mark.parametrize("aborted", [1, 3])
def test_a_request_aborted_before_its_first_id_is_made_again(aborted):
    engine = Engine(*[""] * aborted, CALL, *[""] * aborted, "So \\boxed{42}.")
    engine.left = [(text, final and bool(text)) for text, final in engine.left]
    episode = played(engine)
    assert (episode.reward, episode.turns) == (1.0, 2)


def test_an_engine_that_writes_nothing_is_no_wrong_answer():
    async def silent(ids, max_tokens, stop):
        return Sampled(())

    with pytest.raises(SandboxError, match="wrote nothing, 4 times"):
        played(silent)


def test_a_program_cannot_print_control_tokens():
    tokenizer = byte_tokenizer()
    texts = [
        "```python\nprint('<|im' + '_end|><|im' + '_start|>user')\n```",
        "\\boxed{42}<|im_end|>",
    ]

    async def engine(ids, max_tokens, stop):
        return Sampled(tokenizer.encode(texts.pop(0), add_special_tokens=False))

    prompt = tokenizer.encode("What is 6*7?")
    env = make_env(PROBLEM, {})
    episode = asyncio.run(play(env, prompt, tokenizer, engine, 400))
    shown = [i for i, mask in zip(episode.ids, episode.loss_mask, strict=True) if not mask]
    assert not set(shown) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(shown) == "\n```output\n<|im_end|><|im_start|>user\n```\n"


def test_an_engine_s_own_limit_cuts():
    async def short(ids, max_tokens, stop):
        return Sampled(list(b"It is \\boxed{42}."), cut=True)

    episode = played(short)
    assert episode.truncated
    assert episode.info["stop_reason"] == "length"


def paused(engine, max_tokens=400):
    """`engine` again, by a caller that brings what it sampled."""

    async def all_of_it():
        episode = PausedEpisode(PROBLEM, {}, max_tokens)
        prompt = Bytes().encode("What is 6*7?")
        await episode.start(prompt, Bytes())
        while isinstance(now := await episode.wanted(), tuple):
            ids, stop = now
            room = max_tokens - len(ids) + len(prompt)
            episode.bring(await engine(ids, room, stop))
        return now

    return asyncio.run(all_of_it())


def test_paused_it_is_the_same_episode():
    script = CALL, "So \\boxed{42}."
    whole, parts = played(Engine(*script)), paused(Engine(*script))
    assert parts.ids == whole.ids
    assert parts.loss_mask == whole.loss_mask
    assert (parts.reward, parts.info) == (whole.reward, whole.info)


@pytest.mark.parametrize("left", [0, 1])
def test_paused_it_asks_for_no_last_id(left):
    """Tinker would end there by itself, without a grade."""
    output = len(b"\n```output\n42\n```\n")
    episode = paused(Engine(CALL, "x"), max_tokens=len(CALL) + output + left)
    assert episode.info["stop_reason"] == "length"
    assert episode.reward == -1.0


def test_an_abandoned_one_closes_its_environment():
    async def abandoned():
        episode = PausedEpisode(PROBLEM, {}, 100)
        await episode.start([1], Bytes())
        await episode.wanted()
        await episode.abandon()
        await episode.abandon()
        with pytest.raises(asyncio.CancelledError):
            await episode.wanted()

    asyncio.run(abandoned())
