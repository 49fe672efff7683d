"""What a program draws comes back as PNG files."""

import struct
import sys
from collections.abc import Iterator

import pytest

from torl_env.sandbox import Limits, LocalSandbox, open_sandbox

pytest.importorskip("matplotlib")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux"),
    pytest.mark.slow,
]
DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"


@pytest.fixture(scope="module")
def artist() -> Iterator[LocalSandbox]:
    with open_sandbox("local:packages=matplotlib") as opened:
        assert isinstance(opened, LocalSandbox)
        yield opened


def size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header that every PNG file begins with."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_shown_and_open_figures_come_back_in_their_order(artist: LocalSandbox) -> None:
    result = artist.run(
        "import matplotlib.pyplot as plt\n"
        "plt.figure(figsize=(6, 2)); plt.plot([1, 2]); plt.show()\n"
        "plt.figure(figsize=(2, 6)); plt.bar([1, 2], [3, 4]); plt.title('$x^2$'); print('drawn')"
    )
    assert (result.status, result.stdout, result.stderr) == ("ok", "drawn\n", "")
    (wide, high), (narrow, tall) = map(size, result.images)
    assert wide > high
    assert narrow < tall
    assert [report.preload for report in artist.reports()] == ["plots"]


def test_what_was_drawn_before_an_error_is_kept(artist: LocalSandbox) -> None:
    result = artist.run(f"{DRAW}1/0")
    assert (result.error, len(result.images)) == ("ZeroDivisionError: division by zero", 1)


SAVE = f"{DRAW}plt.savefig('a.png'); "


@pytest.mark.parametrize("code", [SAVE, f"{SAVE}plt.close()", f"{SAVE}plt.plot([3]); plt.show()"])
def test_a_figure_that_is_saved_is_one_picture(artist: LocalSandbox, code: str) -> None:
    result = artist.run(f"{code}\nimport os; print(os.path.getsize('a.png') > 1000)")
    assert (result.stdout, result.stderr) == ("True\n", "")
    (picture,) = result.images
    assert min(size(picture)) > 100


def test_a_picture_that_cannot_be_saved_is_the_programs_error(artist: LocalSandbox) -> None:
    assert artist.run(f"{DRAW}plt.savefig('/none/a.png')").error_type == "FileNotFoundError"


def test_each_turn_has_its_own_pictures(artist: LocalSandbox) -> None:
    with artist.open_session() as session:
        assert len(session.run(DRAW).images) == 1
        assert session.run("x = 1").images == ()
        assert len(session.run("plt.plot([1]); plt.show(); plt.plot([2])").images) == 2


def test_an_empty_figure_and_a_broken_one_are_no_pictures(artist: LocalSandbox) -> None:
    assert artist.run("import matplotlib.pyplot as plt\nplt.figure()").images == ()
    broken = artist.run(f"{DRAW}import matplotlib.figure\nmatplotlib.figure.Figure.savefig = None")
    assert (broken.status, broken.images) == ("ok", ())


def test_pictures_are_bounded(artist: LocalSandbox) -> None:
    many = "import matplotlib.pyplot as plt\nfor i in range(30): plt.plot([i]); plt.show()"
    assert 1 <= len(artist.run(many).images) <= 16


def test_what_a_program_writes_there_itself_must_be_a_png(artist: LocalSandbox) -> None:
    forged = "import os\nos.pwrite(0, b'\\0torl P' + (10).to_bytes(8, 'little') + b'no picture', 0)"
    result = artist.run(forged)
    assert (result.status, result.images) == ("ok", ())


def test_a_picture_that_a_program_has_no_room_for_is_told(artist: LocalSandbox) -> None:
    small = Limits(output_bytes=1000)
    with artist.session(small) as session:
        for result in (artist.run(DRAW, small), session.run(DRAW), session.run(DRAW)):
            assert (result.status, len(result.images), result.output_truncated) == ("ok", 0, True)
        assert not session.run("print(1)").output_truncated
    assert artist.run(DRAW, Limits(output_bytes=2)).ok


NOISE = "import numpy as np\nplt.figure(figsize=(20, 20)); plt.imshow(np.random.rand(2000, 2000))\n"


@pytest.mark.parametrize(
    ("code", "count"),
    [(f"{DRAW}{NOISE}", 1), (f"{DRAW}for _ in range(19): plt.figure(); plt.plot([1])", 16)],
)
def test_a_picture_that_is_left_out_is_told(artist: LocalSandbox, code: str, count: int) -> None:
    result = artist.run(code, Limits(cpu_seconds=60, wall_seconds=60))
    assert (result.status, result.error, len(result.images)) == ("ok", "", count)
    assert result.output_truncated
    assert not artist.run(DRAW).output_truncated
