"""Which releases of TRL the trainer is known to run on, and what of TRL it leans on.

`RLTrainer` replaces these methods of `GRPOTrainer`. The first four are private to TRL, so a release
may move them without a word; each stays because TRL has no public way:

- `_generate_and_score_completions`: advantages are one number a token by any algorithm, and rows
  may be added; TRL's `rollout_func` takes rows and a reward alone.
- `_compute_loss`: terms beside the clipped loss, and means that leave lost rows out.
- `_get_per_token_logps_and_entropies`: on a CPU prompts are read once a group and skip the
  language-model head; elsewhere TRL's own runs.
- `_prepare_inputs`: one batch in micro-batches sorted by length, without rows that move nothing.
- `training_step`, `train` and `log` are public.

It reads `_step`, `num_iterations` and `_last_loaded_step`; for vLLM `VLLMGeneration._init_vllm` is
replaced and `_iter_named_params` called (`vllm_generation`).

`python -m benchmarks.stacks trl_releases` runs the trainer's tests on every release named here and
on the newest there is.
"""

import warnings
from importlib.metadata import version

TESTED = ("1.12", "1.13", "1.14", "1.15", "1.16")
"""Minor releases, oldest first; pyproject.toml asks for the first or newer."""


class UntestedTRLWarning(UserWarning):
    """The installed TRL is newer than all that the trainer is known to run on."""


def warn_if_untested(installed: str | None = None) -> None:
    """Warn where TRL is newer than every tested release.

    A warning and not a pin: a pin would keep people from installing beside stacks that ask for the
    newer one, and most releases change nothing that the trainer touches.

    Args:
        installed: A version; by default that of the installed package.
    """
    installed = installed or version("trl")
    if _minor(installed) > _minor(TESTED[-1]):
        warnings.warn(
            f"trl {installed} is newer than {TESTED[-1]}, the newest release this trainer is "
            "tested with: check it with python -m benchmarks.stacks trl_releases, or install "
            f"'trl<{_after(TESTED[-1])}'",
            UntestedTRLWarning,
            stacklevel=3,
        )


def _minor(release: str) -> tuple[int, int]:
    major, minor, *_ = release.split(".")
    return int(major), int(minor)


def _after(release: str) -> str:
    major, minor = _minor(release)
    return f"{major}.{minor + 1}"
