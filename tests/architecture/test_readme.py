"""The README's example runs as it stands, and its folders exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_example_earns_the_reward(capsys):
    code = re.search(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE).group(1)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "```output" in printed
    assert printed.strip().endswith("1.0 correct {'answer': 1.0}")


def test_the_map_of_folders_is_true():
    block = README.split("## Folders")[1].split("```")[1]
    folders = re.findall(r"([a-z_]+/)", block)
    assert {"rewards/", "torl_env/", "agents/"} <= set(folders)
    inner = {"sandbox/", "problems/"}
    assert all((ROOT / f).is_dir() for f in folders if f not in inner)
    assert all((ROOT / "torl_env" / f).is_dir() for f in inner)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
