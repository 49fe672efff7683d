"""Passes cut by how many ids they hold, which nobody knows before a batch is sampled.

TRL and transformers fix the number of passes of an update when a training starts. Here they see one
pass an update; within it the rows are cut into as many as their lengths ask for:

    at most 24 ids   rows of 3 3 4 4 | 5 5 6 6 | 8 8 8 | 20 | 30   (a fifth 5 would make 5 x 5)

and all passes but the last go backward at once, so that their activations are gone before the next.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from agents.core.trainer import distributed
from agents.core.trainer.batch import narrow


def by_tokens(
    batch: dict[str, Any],
    most: int,
    *,
    shared: bool = False,
    agree: Callable[[list[int]], list[int]] = list,
) -> list[dict[str, Any]]:
    """Cut the rows of an update, in their order, into passes of at most `most` ids each.

    Args:
        batch: Under TRL's names, rows sorted by length or by group.
        most: Ids of a pass, padding included; a row that is longer by itself is a pass.
        shared: Whether a pass reads a prompt once for neighbours that share it, and no padding.
        agree: The largest of each number over the processes: TRL gathers a number a row in every
            pass, so all cut between the same rows, by the longest row of each place.
    """
    ids, count = batch["prompt_ids"], len(batch["prompt_ids"])
    masks = (batch["prompt_mask"], batch["completion_mask"])
    lengths = agree(torch.cat([mask.sum(1) for mask in masks]).tolist())
    prompts, responses = lengths[:count], lengths[count:]

    def size(start: int, end: int) -> int:
        if not shared:
            return (end - start) * (max(prompts[start:end]) + max(responses[start:end]))
        new = [i for i in range(start, end) if i == start or not torch.equal(ids[i], ids[i - 1])]
        return int(sum(responses[start:end]) + sum(prompts[i] for i in new))

    starts = [0]
    for row in range(1, count):
        if size(starts[-1], row + 1) > most:
            starts.append(row)
    cuts = zip(starts, [*starts[1:], count], strict=True)
    return [narrow(batch, torch.arange(start, end)) for start, end in cuts]


def loss_in_passes(
    parts: list[dict[str, Any]],
    loss_of: Callable[[dict[str, Any], float], Tensor],
    accelerator: Any,
    model: Any,
) -> Tensor:
    """The loss of an update, of which all but the last pass has gone backward already.

    Args:
        parts: The update's passes.
        loss_of: The loss of a pass, which has this share of the update's rows.
        accelerator: Of accelerate.
        model: As wrapped.
    """
    rows = [len(part["advantages"]) for part in parts]
    shares = [n / sum(rows) for n in rows]
    done: float | Tensor = 0.0
    for part, share in zip(parts[:-1], shares, strict=False):
        with _without_exchange(accelerator, model):
            loss = loss_of(part, share)
            accelerator.backward(loss)
            done = done + loss.detach()
            # Else it holds the graph of this pass while the next one runs.
            del loss
    return loss_of(parts[-1], shares[-1]) + done


@contextmanager
def _without_exchange(accelerator: Any, model: Any) -> Iterator[None]:
    """Gradients of this block stay in the process until those of the last pass join them.

    Not where they are sharded: each process would then keep all of them.
    """
    state = accelerator.gradient_state
    before = state.sync_gradients
    # DeepSpeed takes its optimiser step within `backward`, unless told that more is to come.
    state._set_sync_gradients(False)
    try:
        with nullcontext() if distributed.sharded() else accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(before)
