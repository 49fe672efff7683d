"""Parts for tests and examples that need no download: a byte tokenizer, a tiny model, a script."""

from collections.abc import Callable, Sequence
from typing import Any

from agents.core.policies.base import RowStart
from agents.core.types import Completion, FinishReason, Sampling


def byte_tokenizer() -> Any:
    """A Hugging Face tokenizer with one id a byte and `<|im_end|>` as end and padding token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<|im_end|>", "<|im_start|>", *alphabet]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


PHRASES = (
    "Let me see. ",
    "\n```python\nprint(6*7)\n```",
    "\n```python\nprint(6*7\n```",
    "\nIt is \\boxed{42}.",
    "\nIt is \\boxed{41}.",
)
"""Enough to reason, to call the tool well or badly, and to answer "What is 6*7?" right or wrong."""


def phrase_tokenizer(phrases: Sequence[str] = PHRASES) -> Any:
    """A tokenizer with one id a phrase, so that a tiny random model writes programs at once.

    Any other text, such as a question or a tool's output, is the one id of `<text>`.
    """
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = ["<|im_end|>", "<text>", *phrases]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<text>"))
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<text>",
    )


def tiny_model(
    tokenizer: Any,
    hidden: int = 32,
    layers: int = 2,
    spread: float = 0.02,
    family: str = "Llama",
    **options: Any,
) -> Any:
    """A random model of some ten thousand weights; seed torch before to fix them.

    With the usual `spread` of its weights what it writes next hardly depends on what came before;
    with 0.5 it depends on every id and its position.

    Args:
        tokenizer: What it reads and writes.
        hidden: Width.
        layers: Depth.
        spread: Standard deviation of the weights.
        family: Architecture, as transformers names its configuration.
        **options: Of that configuration.
    """
    import transformers

    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=spread,
        **options,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


TRL_SETTINGS = {
    "per_device_train_batch_size": 16,
    "num_generations": 8,
    "max_completion_length": 24,
    "max_tool_calling_iterations": 2,
    "learning_rate": 0.02,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
}
"""Settings of TRL's `GRPOConfig` for a tiny model of phrases: seconds, no files, no network."""


class ScriptedPolicy:
    """Writes given turns: `script(row, turn)` is the text of that row's turn.

    A turn that closes no tool call ends with the end-of-sequence id. Nothing is sampled, so
    log-probabilities are 0; ids are those of the tokenizer.

    Args:
        tokenizer: Between text and ids.
        script: What to write; rows are numbered in the order of the batch.
        closes_call: Whether a text ends with a finished tool call.
    """

    def __init__(
        self,
        tokenizer: Any,
        script: Callable[[int, int], str],
        closes_call: Callable[[str], bool],
    ) -> None:
        self.tokenizer = tokenizer
        self.prefixes: list[str] = []
        """What each row's first turn began with before it was asked to write."""
        self._script = script
        self._closes_call = closes_call
        self._turns: dict[int, int] = {}
        self._room: dict[int, int] = {}
        self._ready: list[int] = []

    def open(self, starts: Sequence[RowStart], how: Sampling) -> None:
        """Start one row per prompt."""
        self.prefixes = [
            self.tokenizer.decode(list(start.ids[len(start.ids) - start.prefix_length :]))
            for start in starts
        ]
        self._turns = dict.fromkeys(range(len(starts)), 0)
        self._room = {row: start.remaining(how) for row, start in enumerate(starts)}
        self._ready = list(self._turns)

    def advance(self) -> list[Completion]:
        """Write the next turn of every row that may write."""
        ready, self._ready = self._ready, []
        return [self._write(row) for row in ready]

    def _write(self, row: int) -> Completion:
        text = self._script(row, self._turns[row])
        prefix = "" if self._turns[row] else self.prefixes[row]
        self._turns[row] += 1
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        finish = FinishReason.STOP
        if not self._closes_call(prefix + text):
            ids, finish = [*ids, self.tokenizer.eos_token_id], FinishReason.EOS
        if len(ids) > self._room[row] or (
            len(ids) == self._room[row] and finish is FinishReason.STOP
        ):
            ids, finish = ids[: self._room[row]], FinishReason.LENGTH
        self._room[row] -= len(ids)
        return Completion(row, ids, [0.0] * len(ids), finish)

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Let the row write its next turn."""
        self._room[row] -= len(ids)
        self._ready.append(row)

    def release(self, row: int) -> None:
        """Forget the row."""
        del self._turns[row]
