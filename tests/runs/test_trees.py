"""The record of trees beside independent samples, from numbers made by hand."""

import sys
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[2] / "runs"


@pytest.fixture(scope="module")
def trees():
    """The module beside the scripts, which are no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RUNS))
        import trees

        yield trees
    for name in ("trees", "tree_loss", "tree_signal"):
        sys.modules.pop(name, None)


def cost(tree, answers, sampled):
    return {
        "tree": tree, "seed": 0, "answers": answers, "sampled": sampled, "calls": 2.0,
        "branches": 0, "kinds": 1.0, "read": 3 * sampled, "ids": 4 * sampled,
    }  # fmt: skip


def test_the_table_compares_ids_an_answer(trees):
    """Groups of 15 and of 16 are compared by answer; 90 / 15 is three quarters of 128 / 16."""
    curve = {"curve": [[0, 0.0], [100, 0.5], [300, 1.0]], "ids": 300, "steps": 2}
    record = {
        "settings": {"sandbox": "unsafe", "sampled": 300, "rate": 0.01},
        "cost": [cost("alone", 16, 128), cost("treerl", 15, 90)],
        "loss": [
            {"tree": "alone", "once": 2.0, "padded": 4.0},
            {"tree": "treerl", "once": 1.5, "padded": 6.0},
        ],
        "curve": {"GRPO": {"0": curve}},
    }
    text = trees.table(record)
    assert "| `alone` | 8.00 | 1.00 |" in text
    assert "| `treerl` | 6.00 | 0.75 | 18.00 |" in text
    assert "| `treerl` | 1.50 | 6.00 | 0.25 | 0.75 |" in text
    # 100 ids at 0.25 on the average, 200 at 0.75.
    assert "| GRPO | 0 | 2 | 300 | 0.00 | 1.00 | 0.58 |" in text


def test_the_picture_is_drawn_over_the_ids_that_all_seeds_have(trees, tmp_path):
    curves = {str(s): {"curve": [[0, 0.0], [100 + s, 0.5]], "ids": 100, "steps": 1} for s in (0, 1)}
    trees.draw({"curve": {"GRPO": curves}}, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_gradient_of_another_length_has_the_same_direction(trees):
    """Signal 2 x 1 of the two halves, noise 0.25; half as many ids a group tell twice as much."""
    import torch
    import tree_signal

    each = torch.tensor([[2.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    line = tree_signal.row("ARPO", 0, (each, 50.0), (3 * each, 100.0))
    assert line == "| ARPO | 0 | 1.00 | 50 | 8.000 | 2.00 | 0.00 |"
    turned = tree_signal.row("ARPO", 0, (each.flip(1), 50.0), (each, 100.0))
    assert turned.startswith("| ARPO | 0 | 0.00 |")
