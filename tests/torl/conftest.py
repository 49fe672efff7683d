"""Commands run in this process, as a person types them."""

import json

import pytest

from torl.__main__ import main


def random_model(tokenizer, folder):
    """A folder like those that `--model` takes."""
    import torch

    from agents.core.testing.tiny import tiny_model

    torch.manual_seed(0)
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folder of a random model that reads and writes bytes."""
    from agents.core.testing.tiny import byte_tokenizer

    return random_model(byte_tokenizer(), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def phrases(tmp_path_factory):
    """Folder of a random model whose ids are whole phrases: it writes programs at once."""
    from agents.core.testing.tiny import phrase_tokenizer

    return random_model(phrase_tokenizer(), tmp_path_factory.mktemp("models") / "phrases")


@pytest.fixture
def run_dir(tmp_path):
    """A run after 10 of its 16 steps, answers with code growing from none to all."""
    path = tmp_path / "run"
    path.mkdir()
    steps = [{"step": i, "stage": "rl"} for i in range(10)]
    files = {
        "metrics": [{**one, "code_ratio": one["step"] / 9, "accuracy": 0.5} for one in steps],
        "timing": [{**one, "total": 30.0} for one in steps],
    }
    for name, lines in files.items():
        (path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "config.json").write_text('{"options": {"steps": 16}}')
    return path


class Ran:
    """Exit code and what was printed."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def torl(capsys):
    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(torl):
    """Run a command that must fail with one message, and return the message."""

    def run(*words):
        ran = torl(*words)
        if ran.code == 2:  # an option that does not read, which tyro says in a box
            assert "Traceback" not in ran.err
            return " ".join(ran.err.replace("│", " ").split())
        assert ran.code == 1
        assert ran.err.count("error:") == 1
        assert len(ran.err.strip().splitlines()) == 1, ran.err
        assert "Traceback" not in ran.err
        return ran.err

    return run
