"""What a training step holds in memory, planned before it does.

Activations are not estimated from coefficients: the model's own forward pass runs on tensors that
have shapes and no content (torch's fake tensors), and what autograd would keep of it is added up.
So it holds for any family, any attention and any dtype, costs a second and needs no memory.
"""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.core.models.dtype import precision
from agents.core.trainer.options import Training, TrainingError

_IN_FLIGHT = 8
"""Bytes of one token and one id of the vocabulary, beside what the head gives: two float32, forward
and backward, while log-probability and entropy are computed."""

_SCARCE = 0.25
"""Memory that the machine has left, as a share of what this process holds: with less, freed memory
is given back."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of one process, by what holds them."""

    weights: float
    """Float32, or the process's share of them."""
    gradients: float
    """Of what is trained, all weights or adapters; with the buckets in which several processes add
    them up."""
    optimizer: float
    """Adam's two moments of what is trained."""
    gathered: float
    """Where weights are shared out: the largest block of them, whole for its pass, twice."""
    activations: float
    """What a micro-batch keeps for its backward pass, casts of weights to bfloat16 included; with
    checkpointing the inputs of its blocks."""
    logits: float
    """Of a micro-batch, or of the chunk of it whose logits are held at once."""
    sampler: float
    """The sampler's copy of the weights, or the share of the device that vLLM takes."""
    cache: float
    """Keys and values of all rows of a step."""
    sleeps: bool = False
    """Whether the sampler holds nothing while a micro-batch is learned from, as vLLM does."""
    recomputed: float = 0.0
    """With checkpointing, one block, computed again once the logits are gone."""
    beside: float = 0.0
    """The reference policy of a KL term, and an auxiliary module with its gradients and moments."""
    apart: float = 0.0
    """Weights and cache of a sampler in a process of its own on the same device."""

    @property
    def learning(self) -> float:
        """While a micro-batch is learned from; the sampler keeps its weights, not its cache."""
        state = self.weights + self.gradients + self.optimizer + self.gathered + self.beside
        passing = self.activations + max(self.logits, self.recomputed)
        return state + passing + (0 if self.sleeps else self.sampler)

    @property
    def sampling(self) -> float:
        """While a step is sampled; gradients and activations are gone."""
        return self.weights + self.optimizer + self.beside + self.sampler + self.cache

    @property
    def peak(self) -> float:
        """The larger of the two, or both where they overlap."""
        # While learning, the sampler of this process is for evaluations and holds no cache.
        return max(self.learning, 0 if self.apart else self.sampling) + self.apart

    def lines(self) -> list[str]:
        """For a person to read, in GB."""
        parts = ", ".join(f"{n} {b / 1e9:.1f}" for n, b in asdict(self).items() if b >= 5e7)
        return [f"memory       {self.peak / 1e9:.1f} GB a process at its peak: {parts}"]


@dataclass(frozen=True, slots=True)
class Activations:
    """What autograd keeps of one forward pass of the trunk, in bytes."""

    kept: float
    """In all."""
    blocks: int
    """Of the model: as many as it has layers."""
    boundary: float
    """The input of one block, which is what checkpointing keeps of it."""
    casts: float
    """Weights cast to another dtype, kept once whatever the number of tokens."""

    @property
    def inputs(self) -> float:
        """Of all blocks, and the casts: what activation checkpointing keeps."""
        return self.casts + self.blocks * self.boundary

    @property
    def block(self) -> float:
        """One of them, which checkpointing computes again when its turn comes."""
        return (self.kept - self.casts) / self.blocks


def measure(
    config: Any,
    rows: int,
    length: int,
    *,
    bf16: bool = True,
    shared: tuple[int, int] | None = None,
    lora_rank: int = 0,
) -> Activations:
    """Run the model of this configuration on fake tensors and add up what autograd keeps.

    Args:
        config: Of transformers.
        rows: Of a micro-batch.
        length: Ids of a row, prompt and response.
        bf16: Whether the pass runs under autocast to bfloat16, over float32 weights.
        shared: Ids of a prompt and rows of a group that read it once, where the pass packs them.
        lora_rank: Of the adapters that are trained in place of all weights; 0 for none.

    Example:
        >>> from transformers import LlamaConfig
        >>> small = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        ...     num_attention_heads=4, vocab_size=100)
        >>> one, two = (measure(small, 1, n, bf16=False).kept for n in (64, 128))
        >>> 1.9 < two / one < 2.3
        True
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    from agents.core.models.lora import trunk
    from agents.core.trainer.prefix_sharing import Tree, reading

    kept: dict[int, tuple[Any, int]] = {}
    casts = 0.0
    adapted = None
    if lora_rank:
        with torch.device("meta"):
            adapted = _adapted(AutoModelForCausalLM.from_config(config), lora_rank)

    with FakeTensorMode(allow_non_fake_inputs=True):
        model = AutoModelForCausalLM.from_config(config) if adapted is None else _filled(adapted)
        model.train()
        shapes = {tuple(p.shape) for p in model.parameters() if p.dim() > 1}
        own = {p.untyped_storage()._cdata for p in model.parameters()}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                # The storage is kept alive, or its address would be given to another one.
                cast = tuple(tensor.shape) in shapes or tuple(tensor.shape[::-1]) in shapes
                kept[storage._cdata] = (storage, storage.nbytes() if cast else 0)
            return tensor

        if shared is None:
            ids = torch.zeros(rows, length, dtype=torch.long)
            mask = torch.ones_like(ids)
            inputs = {"attention_mask": mask, "position_ids": mask.cumsum(1) - 1}
            how: Any = nullcontext()
        else:
            prompt, group = shared
            tree = Tree.of(
                [[r // group] * prompt + [rows + r] * (length - prompt) for r in range(rows)]
            )
            ids = torch.zeros(1, len(tree.ids), dtype=torch.long)
            inputs = {"position_ids": torch.zeros_like(ids)}
            how = reading(trunk(model), tree)
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=bf16),
            how,
        ):
            hidden = trunk(model)(input_ids=ids, use_cache=False, **inputs).last_hidden_state
        total = sum(storage.nbytes() for storage, _ in kept.values())
        casts = sum(cast for _, cast in kept.values())
        boundary = float(hidden.numel() * hidden.element_size())
    return Activations(total, int(config.num_hidden_layers), boundary, casts)


def plan_memory(  # noqa: PLR0913
    config: Any,
    training: Training,
    *,
    prompt_tokens: int,
    processes: int = 1,
    sharded: bool = False,
    sampler_bytes: int = 2,
    sleeps: bool = False,
    shares: bool = False,
    lora_rank: int = 0,
) -> MemoryPlan:
    """What one process holds at its peak.

    Args:
        config: Of the model, as transformers has it.
        training: Sizes of a step; `max_tokens` is the length of a response.
        prompt_tokens: Of the longest prompt.
        processes: That train together.
        sharded: Whether they share out weights, gradients and optimiser (FSDP, ZeRO-3).
        sampler_bytes: Of one weight of the sampler's copy; 0 where a server holds it.
        sleeps: Whether the sampler holds nothing while a micro-batch is learned from.
        shares: Whether rows of a group read their prompt once, where the model can.
        lora_rank: Of the adapters that are trained in place of all weights; 0 for none.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from agents.core.trainer.logprobs import chunk_rows
    from agents.core.trainer.prefix_sharing import can_share

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        count = float(sum(p.numel() for p in model.parameters()))
        model = _adapted(model, lora_rank)
    held = float(sum(p.numel() for p in model.parameters()))
    trained = float(sum(p.numel() for p in model.parameters() if p.requires_grad))
    share = processes if sharded else 1
    length = prompt_tokens + training.max_tokens
    shared, again = None, training.activation_checkpointing
    if shares and not again and can_share(model):
        shared = (prompt_tokens, training.group_size)
    batch = _rows_of_pass(training, processes, length, shared)
    # More are never held at once, here or in TRL's own head.
    places = min(batch * training.max_tokens, chunk_rows(config.vocab_size))
    bf16 = precision(training.dtype).bf16
    found = measure(config, batch, length, bf16=bf16, shared=shared, lora_rank=lora_rank)
    rows = training.prompts_per_step * training.group_size // processes
    return MemoryPlan(
        weights=4 * held / share,
        # DistributedDataParallel copies gradients into buckets before it adds them up.
        gradients=4 * trained / share * (2 if processes > 1 and not sharded else 1),
        optimizer=8 * trained / share,
        gathered=2 * 4.0 * max(_blocks(model).values()) if sharded else 0.0,
        activations=found.inputs if again else found.kept,
        logits=float((_IN_FLIGHT + (2 if bf16 else 4)) * places * config.vocab_size),
        sampler=float(sampler_bytes * count),
        cache=_cache(config, rows, length) if sampler_bytes else 0.0,
        sleeps=sleeps,
        recomputed=found.block if again else 0.0,
    )


def _adapted(model: Any, lora_rank: int) -> Any:
    """The model as it is trained: with adapters where they are what is."""
    if not lora_rank:
        return model
    from agents.core.models.lora import Lora, with_lora

    return with_lora(model, Lora(lora_rank))


def _filled(model: Any) -> Any:
    """A model of the meta device with weights on the CPU, which are fake where tensors are.

    PEFT moves what it makes, which fake tensors refuse; so adapters are put on before.
    """
    import torch

    made: dict[int, Any] = {}
    for module in model.modules():
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is None:
                    continue
                if id(old) not in made:
                    new = torch.empty(old.shape, dtype=old.dtype)
                    trains = own is module._parameters
                    made[id(old)] = torch.nn.Parameter(new, old.requires_grad) if trains else new
                own[name] = made[id(old)]
    return model


def _rows_of_pass(
    training: Training, processes: int, length: int, shared: tuple[int, int] | None
) -> int:
    """Rows of full length in one pass."""
    rows, most = training.pass_rows(processes), training.micro_batch_tokens
    if not most:
        return rows
    if shared is None:
        return min(rows, training.rows_at_once(length))
    prompt, group = shared
    fit = (n for n in range(1, rows + 1) if -(-n // group) * prompt + n * (length - prompt) <= most)
    return max(fit, default=1)


def _blocks(model: Any) -> Mapping[str, int]:
    """Weights of each part that is gathered as one: the blocks, and the embedding."""
    found: dict[str, int] = {}
    for name, p in model.named_parameters():
        # `model.layers.7.mlp.up_proj.weight` belongs to `model.layers.7`.
        words = name.split(".")
        number = next((i for i, word in enumerate(words) if word.isdigit()), None)
        part = ".".join(words[: number + 1]) if number is not None else name
        found[part] = found.get(part, 0) + p.numel()
    return found


def _cache(config: Any, rows: int, length: int) -> float:
    """Keys and values in bfloat16."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return float(2 * 2 * rows * length * config.num_hidden_layers * heads * size)


def keep_freed_memory() -> None:
    """Let glibc keep what a pass gives back, for the next pass, while the machine has room.

    By default large tensors are mapped and unmapped one by one, and the kernel zeroes every page
    again: a tenth of a training step's CPU seconds. Other allocators are left as they are. What is
    kept has holes, since passes differ in shape, and grows over the steps beyond the plan; see
    `memory_errors_say` for when it is given back.
    """
    trim, mapped, most = -1, -3, 2**31 - 1
    _glibc("mallopt", trim, most)
    _glibc("mallopt", mapped, 2**30)


@contextmanager
def memory_errors_say(message: str) -> Iterator[None]:
    """Turn an error for want of memory, which torch words differently everywhere, into advice.

    What was freed and kept is given back first, where the machine has little left.

    Raises:
        TrainingError: With `message`, where the work inside ran out of memory.

    Example:
        >>> with memory_errors_say("lower --micro-batch"):
        ...     raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        Traceback (most recent call last):
        agents.core.trainer.options.TrainingError: lower --micro-batch
    """
    import torch

    from agents.core.policies.row_cache import free_bytes

    if free_bytes(torch.device("cpu")) < _SCARCE * _resident():
        _glibc("malloc_trim", 0)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU torch raises a plain RuntimeError, which only its words tell from others.
        named = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        if not named and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(message) from error


def _resident() -> float:
    """Bytes of this process that lie in memory; 0 where the kernel does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _glibc(function: str, *numbers: int) -> None:
    """Call it where the C library is glibc."""
    try:
        call = getattr(ctypes.CDLL(None), function)
    except (OSError, AttributeError, TypeError):
        return
    call(*numbers)
