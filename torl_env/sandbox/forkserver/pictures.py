"""What a program draws with matplotlib, as PNG files: what is open at `show`, saved, or at the end.

The backend is Agg, which draws to memory and needs no display.
"""

import atexit
import functools
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from torl_env.sandbox.forkserver import rootfs

MOST = 16
taken: list[bytes] = []
"""Of this process, in the order in which they were shown or saved."""
left_out = [False]
"""Whether one was drawn and is not in `taken`."""
_saved: dict[Any, int] = {}
"""Figures that are still open, and where in `taken` their last picture is."""
_drawing: list[bool] = []


def import_matplotlib() -> None:
    """Import it where it can write nothing: it insists on a directory for its caches."""
    make = tempfile.mkdtemp
    namespace: Any = tempfile
    os.environ["MPLCONFIGDIR"] = "/dev/null/matplotlib"
    namespace.mkdtemp = lambda *words, **more: rootfs.HOME
    try:
        import matplotlib
    finally:
        namespace.mkdtemp = make
        del os.environ["MPLCONFIGDIR"]
    # It would remove that directory when a program ends.
    atexit.unregister(shutil.rmtree)
    module: Any = matplotlib
    module.get_cachedir = module.get_configdir = lambda: rootfs.HOME
    module.use("Agg")


def warm_up() -> None:
    """Load fonts and draw once, and let `show` take pictures."""
    import matplotlib.pyplot as plt

    module: Any = plt
    _, axes = module.subplots()
    axes.plot([1, 2], [1, 2], label="$x^2$")
    axes.set_title("warm")
    axes.legend()
    take()
    taken.clear()
    helpers: Any = sys.modules["matplotlib._pylab_helpers"]
    # The end of the process closes them; this would be before their pictures are taken.
    atexit.unregister(helpers.Gcf.destroy_all)
    figures: Any = sys.modules["matplotlib.figure"]
    figures.Figure.savefig = _that_keeps(figures.Figure.savefig)
    module.show = lambda *words, **more: take()
    # What is cached has font files open, and a program finds all descriptors closed.
    fonts: Any = sys.modules["matplotlib.font_manager"]
    mathematics: Any = sys.modules["matplotlib.mathtext"]
    fonts._get_font.cache_clear()
    mathematics.MathTextParser._parse_cached.cache_clear()


def take() -> None:
    """Draw every open figure and close it."""
    helpers: Any = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return
    for manager in helpers.Gcf.get_all_fig_managers():
        _keep(manager.canvas.figure)
    _saved.clear()
    helpers.Gcf.destroy_all()


def _keep(figure: Any) -> None:
    """Draw a figure: in place of what was drawn when it was saved, or as a further picture."""
    place = _saved.get(figure, len(taken))
    if not figure.get_axes():
        return
    if place >= MOST:
        left_out[0] = True
        return
    file = io.BytesIO()
    _drawing.append(True)
    try:
        figure.savefig(file, format="png", dpi=100, bbox_inches="tight")
    finally:
        _drawing.clear()
    taken[place : place + 1] = [file.getvalue()]
    _saved[figure] = place


def _that_keeps(save: Callable[..., None]) -> Callable[..., None]:
    """`Figure.savefig`, so that a figure that is saved and closed is a picture too."""

    @functools.wraps(save)
    def savefig(self: Any, *words: Any, **more: Any) -> None:
        save(self, *words, **more)
        if not _drawing:
            _keep(self)

    return savefig
