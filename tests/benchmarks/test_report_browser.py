"""The page in a real headless Chromium: clicked, typed into, on a phone's width, in the dark."""

import json

import pytest
from chromium import CHROMIUM

from benchmarks.report import open_run
from benchmarks.report.page import write_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def report(shared_run):
    """The page of a run, with one answer that looks like HTML."""
    path = shared_run / "transcripts" / "step-000015.jsonl"
    lines = path.read_text().splitlines()
    evil = json.loads(lines[0]) | {"question": EVIL, "problem_id": "evil"}
    evil["turns"][0]["text"] = EVIL
    path.write_text("\n".join([*lines[1:], json.dumps(evil)]) + "\n")
    write_page([open_run(shared_run)], shared_run / "report.html")
    return shared_run / "report.html"


@pytest.fixture
def page(browser, report):
    browser.events.clear()
    browser.screen(1200)
    browser.call("Emulation.setEmulatedMedia", features=[])
    browser.open(report)
    browser.wait("found.length > 0")
    yield browser
    assert browser.problems() == []


def rows(page):
    return page.run("document.querySelectorAll('#list button').length")


def open_first(page):
    page.click("#list li:first-child button")
    page.wait("open === found[0] && document.querySelector('#detail .turn') !== null")


def press_button(page, text):
    page.run(
        f"[...document.querySelectorAll('#detail button, #pair button')]"
        f".find(b => b.textContent === {json.dumps(text)}).click()"
    )


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


def test_filters_leave_what_they_say(page):
    settle(page, 576)
    assert rows(page) == 200
    page.click("#more")
    assert rows(page) == 400
    data = page.run("all.map(i => [i.verdict, i.lost, i.statuses, i.level, i.place])")
    wanted = sum(v == "wrong" and not lost and "error" in s for v, lost, s, _, _ in data)
    assert wanted > 0
    page.choose("verdict", "wrong")
    page.choose("status", "error")
    settle(page, wanted)
    assert "0 correct" in page.run("document.getElementById('found').textContent")
    page.click("#clear")
    settle(page, 576)
    page.choose("place", "step 7")
    settle(page, 32)
    page.choose("level", "2")
    settle(page, sum(p == "step 7" and level == "2" for *_, level, p in data))
    page.click("#clear")
    settle(page, 576)
    page.choose("case", "fixed_error")
    page.wait("found.length < 576 && found.every(i => i.cases.includes('fixed_error'))")
    assert rows(page) > 0


def test_an_answer_shows_reasoning_code_output_and_reward(page):
    page.choose("case", "fixed_error")
    page.wait("found.length < 576")
    open_first(page)
    text = page.run("document.getElementById('detail').innerText")
    for part in ("What is", "I compute.", "print(6*7)", "42", "program: error (NameError)",
                 "program: ok", "reward", "answer ", "reference", "So the answer is"):  # fmt: skip
        assert part in text, part
    assert "```" not in text
    written = page.run(
        "load(found[0]).then(w => w.turns.filter(t => t.text.includes('```python')).length)"
    )
    assert page.run("document.querySelectorAll('#detail pre[data-kind=code]').length") == written
    assert page.run("document.querySelectorAll('#detail pre[data-kind=output]').length") == 2


def test_one_problem_is_followed_over_training(page):
    open_first(page)
    press_button(page, "Follow this problem")
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
    page.wait("document.querySelector('#detail h3') !== null")
    # What never occurs opens nothing.
    assert page.run(f"{label % 'invented output'} === undefined")


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


def test_the_keys_are_told_and_work(page):
    page.press("?")
    assert page.run("document.getElementById('help').open")
    text = page.run("document.getElementById('help').innerText")
    told = set(page.run("[...document.querySelectorAll('#help kbd')].map(k => k.textContent)"))
    assert told == {*page.run("Object.keys(KEYS)"), "Esc"}
    assert "next wrong answer" in text
    page.run("document.getElementById('help').close()")
    wrong = page.run(
        "found.map((i, n) => i.verdict === 'wrong' && !i.lost ? n : -1).filter(n => n >= 0)"
    )
    page.press("n")
    page.press("n")
    assert page.run("chosen") == wrong[1]
    page.press("N")
    assert page.run("chosen") == wrong[0]
    page.press("v")
    page.wait("document.querySelector('#detail .tokens') !== null")
    before = page.run("document.documentElement.dataset.theme")
    page.press("t")
    assert page.run("document.documentElement.dataset.theme") != before
    page.run("localStorage.clear()")


def test_text_that_looks_like_html_stays_text(page):
    page.choose("text", "evil")
    settle(page, 1)
    open_first(page)
    assert EVIL in page.run("document.querySelector('#detail .prose').textContent")
    assert page.run("window.hacked === undefined")


def test_phone_width_has_no_sideways_scroll(page, report):
    page.screen(360, 740, mobile=True)
    page.open(report)
    page.wait("found.length > 0")
    open_first(page)
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
def test_both_colour_schemes_are_readable(page, report, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.call("Emulation.setEmulatedMedia", features=[feature])
    page.open(report)
    page.wait("found.length > 0")
    open_first(page)
    assert page.run("document.documentElement.dataset.theme") == scheme
    assert min(page.run(CONTRAST)) >= 4.5
    page.click("#theme")
    assert page.run("document.documentElement.dataset.theme") != scheme
    assert min(page.run(CONTRAST)) >= 4.5
    page.run("localStorage.clear()")
