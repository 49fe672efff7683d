"""The page in a real headless Chromium: clicked, typed into, on a phone's width, in the dark."""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from benchmarks.report import open_run
from benchmarks.report.page import write_page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


class Browser:
    """Chromium driven over its debugging pipe (file descriptors 3 and 4)."""

    def __init__(self, profile):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        arguments = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--remote-debugging-pipe",
        ]  # fmt: skip
        # The child may hold other descriptors at 3 and 4, so both are moved out of the way first.
        launch = (
            "import os, sys; r, w = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2])); "
            "a, b = os.dup(r), os.dup(w); os.dup2(a, 3); os.dup2(b, 4); "
            "os.execv(sys.argv[3], sys.argv[3:])"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", launch, str(to_browser), str(from_browser), *arguments],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self.events = b"", 0, []
        target = self.call("Target.createTarget", session=None, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", None, targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, session="own", **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session == "own":
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)
        raise TimeoutError(method)

    def _next(self, deadline):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def open(self, path):
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition):
        deadline = time.monotonic() + 20
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.02)

    def press(self, key):
        text = {"text": key} if len(key) == 1 else {}
        code = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38}.get(key, 0)
        if key == "Enter":
            text = {"text": "\r"}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def click(self, selector):
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left",
                clickCount=1,
            )  # fmt: skip

    def choose(self, name, value):
        self.run(
            f"(() => {{ const s = document.querySelector('#filters [name={name}]');"
            f"s.value = {json.dumps(value)};"
            "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def problems(self):
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded"}
        return [event for event in self.events if event.get("method") in kinds]

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, run_dir):
    path = run_dir / "transcripts" / "step-000015.jsonl"
    lines = path.read_text().splitlines()
    evil = json.loads(lines[0]) | {"question": EVIL, "problem_id": "evil"}
    evil["turns"][0]["text"] = EVIL
    path.write_text("\n".join([*lines[1:], json.dumps(evil)]) + "\n")
    write_page([open_run(run_dir)], run_dir / "report.html")
    browser.events.clear()
    browser.call("Emulation.setDeviceMetricsOverride", width=1200, height=900,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
    browser.call("Emulation.setEmulatedMedia", features=[])
    browser.open(run_dir / "report.html")
    yield browser
    assert browser.problems() == []


def rows(page):
    return page.run("document.querySelectorAll('#list button').length")


def settle(page, count):
    page.wait(f"document.getElementById('found').textContent.startsWith('{count} answers')")


def test_it_asks_no_network_for_anything(page):
    asked = [
        event["params"]["request"]["url"]
        for event in page.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert all(url.startswith("file://") for url in asked)
    assert len(asked) == 1


def test_filters_leave_what_they_say(page, run_dir):
    settle(page, 576)
    assert rows(page) == 200
    page.click("#more")
    assert rows(page) == 400
    data = page.run(
        "all.map(i => [i.verdict, i.lost, i.turns.map(t => t.status), i.level, i.place])"
    )
    wanted = sum(v == "wrong" and not lost and "error" in s for v, lost, s, _, _ in data)
    assert wanted > 0
    page.choose("verdict", "wrong")
    page.choose("status", "error")
    settle(page, wanted)
    assert "0 correct" in page.run("document.getElementById('found').textContent")
    page.click("#filters [type=reset]")
    settle(page, 576)
    page.choose("place", "step 7")
    settle(page, 32)
    page.choose("level", "2")
    settle(page, sum(p == "step 7" and level == "2" for *_, level, p in data))
    page.click("#filters [type=reset]")
    settle(page, 576)
    page.choose("case", "fixed_error")
    page.wait("found.length < 576 && found.every(i => i.cases.includes('fixed_error'))")
    assert rows(page) > 0


def test_an_answer_shows_reasoning_code_output_and_reward(page):
    page.choose("case", "fixed_error")
    page.wait("found.length < 576")
    page.click("#list li:first-child button")
    text = page.run("document.getElementById('detail').innerText")
    for part in ("What is", "I compute.", "print(6*7)", "42", "program: error (NameError)",
                 "program: ok", "reward", "answer ", "reference", "So the answer is"):  # fmt: skip
        assert part in text, part
    assert "```" not in text
    written = page.run("found[0].turns.filter(t => t.text.includes('```python')).length")
    assert page.run("document.querySelectorAll('#detail pre[data-kind=code]').length") == written
    assert page.run("document.querySelectorAll('#detail pre[data-kind=output]').length") == 2


def test_one_problem_is_followed_over_training(page):
    page.click("#list li:first-child button")
    page.click("#detail .actions button")
    page.wait("found.length < 576")
    assert page.run("new Set(found.map(i => i.id)).size") == 1
    orders = page.run("found.map(i => i.order)")
    assert orders == sorted(orders)
    assert page.run("new Set(found.map(i => i.place)).size") == 18


def test_the_name_of_a_behaviour_opens_its_cases(page):
    label = "[...document.querySelectorAll('.cases button')].find(b => b.textContent === %r)"
    page.run(f"{label % 'fixed error'}.id = 'wanted'")
    page.click("#wanted")
    page.wait("found.length < 576")
    assert page.run("found.every(i => i.cases.includes('fixed_error') && i.place === 'after')")
    assert page.run("document.querySelector('#detail h3') !== null")
    # What never occurs opens nothing.
    assert page.run(f"{label % 'invented output'} === undefined")


@pytest.fixture
def branched(page, run_dir, make, tool_turn):
    """An answer whose second turn failed and was written anew three times, twice in vain."""
    first, failed, last = tool_turn(), tool_turn("error", "NameError"), tool_turn()
    first, failed = replace(first, start=0, end=2), replace(failed, start=3, end=5)
    left = make("split", 1, turns=(first, failed), ids=tuple(range(10, 16)), prompt_ids=(1, 2))
    others = [make("split", 0, turns=(first, last)), make("split", 2, False, turns=(last,))]
    anew = [
        make("split", 1, turns=(tool_turn(*how),), prompt_ids=(1, 2, 10, 11, 12, 13))
        for how in (("ok",), ("error", "TypeError"), ("error", "KeyError"))
    ]
    for folder, found in (("transcripts", [left, *others]), ("branches", anew)):
        (run_dir / folder).mkdir(exist_ok=True)
        lines = [json.dumps(t.to_json()) + "\n" for t in found]
        (run_dir / folder / "step-000020.jsonl").write_text("".join(lines))
    write_page([open_run(run_dir)], run_dir / "report.html")
    page.open(run_dir / "report.html")
    return page


def test_the_branches_of_a_turn_open(branched):
    page = branched
    page.choose("text", "split")
    settle(page, 3)
    page.choose("status", "error")
    settle(page, 1)
    page.click("#list li:first-child button")
    summaries = page.run(
        "[...document.querySelectorAll('.branches summary')].map(s => s.innerText)"
    )
    assert summaries == [
        "Branches of turn 1: 2 other answers, 1 correct",
        "Branches of turn 2: written anew 3 times, 1 ran; 1 other answer, 1 correct",
    ]
    page.run("document.querySelectorAll('.branches summary')[1].focus()")
    page.press("Enter")
    text = page.run("document.querySelectorAll('.branches')[1].innerText")
    assert [text.count(f"({name})") for name in ("NameError", "TypeError", "KeyError")] == [0, 1, 1]
    assert all(text.count(f"Turn 2 anew, {i} ·") == 1 for i in (1, 2, 3))
    page.click(".branches[open] > button")
    heading = page.run("document.querySelector('#detail h3').innerText")
    assert "correct" in heading
    assert heading.endswith("split #0")


def test_keyboard_alone(page):
    page.press("j")
    page.press("j")
    page.press("ArrowDown")
    assert page.run("chosen") == 2
    page.press("k")
    assert page.run("document.activeElement.getAttribute('aria-current')") == "true"
    assert (
        page.run("[...document.querySelectorAll('#list button')].indexOf(document.activeElement)")
        == 1
    )
    page.press("/")
    assert page.run("document.activeElement.name") == "text"
    for letter in "evil":
        page.press(letter)
    settle(page, 1)
    seen = set()
    page.run("document.activeElement.blur(); document.body.focus()")
    for _ in range(60):
        page.press("Tab")
        seen.add(page.run("(e => e.id || e.name || e.tagName)(document.activeElement)"))
    assert {"theme", "verdict", "case", "text"} <= seen


def test_text_that_looks_like_html_stays_text(page):
    page.choose("text", "evil")
    settle(page, 1)
    page.click("#list li:first-child button")
    assert EVIL in page.run("document.querySelector('#detail .prose').textContent")
    assert page.run("window.hacked === undefined")


def test_phone_width_has_no_sideways_scroll(page, run_dir):
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740,
              deviceScaleFactor=2, mobile=True)  # fmt: skip
    page.open(run_dir / "report.html")
    page.click("#list li:first-child button")
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.run("document.documentElement.scrollWidth") <= 360
    small = page.run(
        "[...document.querySelectorAll('button, select')].filter(e => e.offsetParent)"
        ".map(e => e.getBoundingClientRect().height).filter(h => h < 36).length"
    )
    assert small == 0


CONTRAST = """(() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => {
    v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('p, td, th, h2, a, .good, .bad, small, .tag')]
    .filter(e => e.offsetParent).map(e => light(getComputedStyle(e).color))
    .map(c => (Math.max(c, paper) + 0.05) / (Math.min(c, paper) + 0.05));
})()"""


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_both_colour_schemes_are_readable(page, run_dir, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.call("Emulation.setEmulatedMedia", features=[feature])
    page.open(run_dir / "report.html")
    page.click("#list li:first-child button")
    assert page.run("document.documentElement.dataset.theme") == scheme
    assert min(page.run(CONTRAST)) >= 4.5
    page.click("#theme")
    assert page.run("document.documentElement.dataset.theme") != scheme
    assert min(page.run(CONTRAST)) >= 4.5
    page.run("localStorage.clear()")
