"""The benchmark of training on a tiny model: equal tokens on both sides, and every figure there."""

import pytest
import torch

from agents.core.testing.tiny import byte_tokenizer, tiny_model
from benchmarks.performance import training
from benchmarks.performance.measuring import Options


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "tiny"
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_both_sides_sample_the_same_number_of_tokens(tiny):
    options = Options(model=str(tiny), prompts=2, group=2, repeats=1, tokens=(150, 190))
    found = training.measure(options)
    figures, rows = found.figures, found.figures["rows"]
    assert 150 * rows <= figures["sampled tokens, C = 0"] <= 190 * rows
    assert figures["sampled tokens, C = 0"] == figures["sampled tokens, C = 1"]
    assert figures["sampled tokens, TRL"] == figures["sampled tokens, ours"]
    assert figures["programs run, C = 1"] == figures["programs run, ours"] == rows
    assert figures["programs run, C = 0"] == 0
    assert figures["tokens of tool output, C = 1"] > 0
    # A turn ends with an id that TRL samples and ours is given.
    assert figures["tokens read by TRL"] + rows == figures["tokens read by ours"]
    assert set(found.ratios) == {
        "training, CPU seconds: C = 0 / C = 1", "training, CPU seconds: TRL's / ours",
    }  # fmt: skip
    assert min(found.ratios.values()) > 0
    shares = [value for name, value in figures.items() if name.startswith("share of a step")]
    assert sum(shares) == pytest.approx(100)
    assert min(shares) > -1
