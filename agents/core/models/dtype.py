"""Which floating-point type this machine computes fast, measured or asked of the hardware.

A CPU without instructions for bfloat16 emulates it: a step of the laptop run took 160 s in bfloat16
and 66 to 86 s in float32 on a Xeon with AVX512 alone, and the other way round (30 to 50 s) on an
EPYC with AVX512_BF16. So it is detected, never assumed.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DTYPES = ("auto", "bfloat16", "float32")
"""What may be asked for. float16 is not among them: its small range needs loss scaling."""


@dataclass(frozen=True, slots=True)
class Precision:
    """A type for sampling and for the products of training; master weights stay in float32."""

    dtype: str
    """Name of a torch dtype."""
    reason: str
    """Why, for the plan of a run."""

    @property
    def bf16(self) -> bool:
        """Whether training runs under autocast to bfloat16."""
        return self.dtype == "bfloat16"

    def __str__(self) -> str:
        return f"{self.dtype} ({self.reason})"


def precision(asked: str = "auto", device: str | None = None) -> Precision:
    """The type to compute in.

    Args:
        asked: One of `DTYPES`; `auto` is what the device computes fast.
        device: `cpu`, `cuda`, `mps`; `None` is what models are loaded onto here.

    Raises:
        ValueError: No such type.

    Example:
        >>> str(precision("float32"))
        'float32 (asked for)'
    """
    if asked not in DTYPES:
        raise ValueError(f"unknown dtype {asked!r}: expected {', '.join(DTYPES)}")
    if asked != "auto":
        return Precision(asked, "asked for")
    return fastest((device or default_device()).partition(":")[0])


@lru_cache
def fastest(device: str) -> Precision:
    """What a kind of device computes fastest in; remembered."""
    import torch

    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bfloat16", "the GPU has bfloat16 units")
        return Precision("float32", "this GPU has no bfloat16 units")
    if device == "mps":
        if _mps_works():
            return Precision("bfloat16", "checked on this GPU")
        return Precision("float32", "bfloat16 does not work on this GPU")
    found = cpu_units()
    if found:
        return Precision("bfloat16", f"the CPU has {found}")
    return Precision("float32", "this CPU has no bfloat16 units")


def cpu_units(flags: frozenset[str] | None = None) -> str:
    """The CPU's instructions for bfloat16, `""` where there are none.

    Args:
        flags: As Linux lists them; by default those of this machine.

    Example:
        >>> cpu_units(frozenset({"avx512f", "avx512_bf16"})), cpu_units(frozenset({"avx512f"}))
        ('AVX512_BF16', '')
    """
    have = cpu_flags() if flags is None else flags
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX512_BF16", "bf16": "bfloat16 (ARMv8.6)"}
    return next((name for flag, name in names.items() if flag in have), "")


def cpu_flags() -> frozenset[str]:
    """Of the first processor; empty where the system does not say, as macOS and Windows do not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    listed = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(listed, "").partition(":")[2].split())


def _mps_works() -> bool:
    """Whether a product in bfloat16 is right: some versions of macOS refuse, or return nonsense."""
    import torch

    try:
        a = torch.linspace(-1, 1, 64 * 64, device="mps").view(64, 64)
        near = (a.bfloat16() @ a.bfloat16().T).float()
        return bool(torch.allclose(near, a @ a.T, rtol=0.05, atol=0.3))
    except (RuntimeError, TypeError):
        return False


def default_device() -> str:
    """`cuda` where torch sees one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
