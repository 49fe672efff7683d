"""Episodes on disk: a line of JSON each, and a page to read them."""

import html
import json
from collections import deque
from collections.abc import Collection
from math import nan
from pathlib import Path
from typing import Any

import gymnasium as gym

from torl_env.info import is_scorable
from torl_env.wrappers.transcript import base_of

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2328; background: #fff }}
details {{ border: 1px solid #d1d9e0; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }}
summary {{ cursor: pointer }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .5rem .8rem; border-radius: 6px;
  margin: .4rem 0; background: #f6f8fa }}
pre.model {{ background: #ddf4ff }}
pre.tool {{ background: #fff8c5 }}
.good {{ color: #1a7f37 }} .bad {{ color: #cf222e }} small {{ color: #59636e }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #f0f6fc; background: #0d1117 }} details {{ border-color: #3d444d }}
  pre {{ background: #151b23 }} pre.model {{ background: #121d2f }}
  pre.tool {{ background: #272115 }}
}}
</style>
<h1>{title}</h1>
<p>{count}, mean reward {mean:.3f}. <small>Grey: the prompt; blue: the model;
yellow: the tool.</small></p>
{episodes}
</html>
"""


class RecordTranscript(gym.Wrapper[Any, Any, Any, Any]):
    """Appends each ended episode to a JSONL file; `close` writes an HTML page beside it.

    A line holds `problem_id`, `split`, `reward` (the sum), `segments` (role and text), and `info`
    of the last step. The page needs no network and shows the last episodes of this run.

    Args:
        env: A `ToRLMathEnv`, wrapped or not.
        path: The `.jsonl` file; its folder is made, an existing file is continued.
        page_episodes: Most episodes on the page; with 0 there is none.

    Raises:
        ValueError: The path ends otherwise, or `page_episodes` is negative.
    """

    def __init__(self, env: gym.Env[Any, Any], path: str | Path, page_episodes: int = 500) -> None:
        super().__init__(env)
        self._base = base_of(env)
        self.path = Path(path)
        if self.path.suffix != ".jsonl":
            raise ValueError(f"path must end with .jsonl, got {str(path)!r}")
        if page_episodes < 0:
            raise ValueError(f"page_episodes must be 0 or more, got {page_episodes}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._shown: deque[dict[str, Any]] = deque(maxlen=page_episodes)
        self._reward = 0.0

    @property
    def page(self) -> Path:
        """Where `close` writes the page."""
        return self.path.with_suffix(".html")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the env's; an episode that had not ended is not recorded."""
        self._reward = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the env's; the last step of an episode writes its line."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._reward += float(reward)
        if terminated or truncated:
            self._write(info)
        return observation, float(reward), terminated, truncated, info

    def _write(self, info: dict[str, Any]) -> None:
        record = {
            "problem_id": info["problem_id"],
            "split": info["split"],
            "reward": self._reward,
            "segments": [
                {"role": segment.role, "text": segment.text}
                for segment in self._base.episode.state.segments
            ],
            "info": info,
        }
        # ASCII, because a model's text may hold half a surrogate pair.
        line = json.dumps(record, ensure_ascii=True)
        with self.path.open("a", encoding="ascii") as file:
            file.write(line + "\n")
        self._shown.append(record)

    def close(self) -> None:
        """Write the page and close the env; idempotent."""
        if self._shown:
            self.page.write_text(_page(self.path.stem, self._shown), encoding="utf-8")
            self._shown.clear()
        super().close()


def _page(title: str, records: Collection[dict[str, Any]]) -> str:
    # A failure of the machine and an undecided grade are no reward.
    scored = [record["reward"] for record in records if is_scorable(record["info"])]
    mean = sum(scored) / len(scored) if scored else nan
    lost = len(records) - len(scored)
    count = f"{len(records)} episodes" + (f", {lost} of them not scored" if lost else "")
    episodes = "\n".join(_episode(record) for record in records)
    return _PAGE.format(title=_safe(title), count=count, mean=mean, episodes=episodes)


def _episode(record: dict[str, Any]) -> str:
    info = record["info"]
    tone = "good" if info["verdict"] == "correct" else "bad"
    head = (
        f'<b class="{tone}">{_safe(info["verdict"] or info["stop_reason"])}</b> '
        f"{record['reward']:+.2f} {_safe(record['problem_id'])} "
        f"<small>{info['turn']} turns, {info['tool_calls']} calls, {info['tool_errors']} failed, "
        f"{_safe(info['stop_reason'])}</small>"
    )
    body = "".join(
        f'<pre class="{segment["role"]}">{_safe(segment["text"])}</pre>'
        for segment in record["segments"]
        if segment["text"]
    )
    return f"<details><summary>{head}</summary>{body}</details>"


def _safe(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode())
