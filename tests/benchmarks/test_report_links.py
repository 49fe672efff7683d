"""What leaves the page in Chromium, links, CSV, paper, and what must not break it."""

import csv
import json
import time
from dataclasses import replace

import pytest
from chromium import CHROMIUM, open_answer, press, texts

from agents.core.run import transcripts
from benchmarks.report import open_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]


def test_a_link_opens_its_answer_on_a_page_made_anew(show, make, run_dir):
    strange = "p 1&2=#/ü\u202e"
    page = show(*(make(strange, i) for i in range(3)))
    open_answer(page, 2)
    page.call(
        "Browser.setPermission", None, permission={"name": "clipboard-read"}, setting="granted"
    )
    page.press("c")
    page.wait("byId('said').textContent === 'The link is copied.'")
    link = page.run("navigator.clipboard.readText()")
    assert link.startswith((run_dir / "report.html").as_uri() + "#run=")
    place = "#" + link.partition("#")[2]
    transcripts.write(run_dir / "transcripts", 2, 0, [make("other", i) for i in range(5)])
    page = show(*(make(strange, i) for i in range(3)), fragment=place)
    page.wait("open !== undefined")
    assert page.run("[open.id, open.sample, open.place]") == [strange, 2, "step 3"]
    page = show(make("p0"), fragment=place)
    page.wait("byId('detail').innerText.includes('not on this page')")


def test_tables_and_answers_come_as_csv(show, make, tmp_path, run_dir):
    answers = [make('=1+1, "x"\nü', 0), make("p", 1, False)]
    page = show(*answers, drawn=True)
    page.call(
        "Browser.setDownloadBehavior", None, behavior="allow", downloadPath=str(tmp_path / "d")
    )

    def saved(name):
        path = tmp_path / "d" / name
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline, name
            time.sleep(0.05)
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    page.click("#export")
    rows = saved("answers.csv")
    assert rows[0][:5] == ["run", "place", "id", "sample", "verdict"]
    assert [row[2] for row in rows[1:]] == ['\'=1+1, "x"\nü', "p"]
    assert [row[4] for row in rows[1:]] == ["correct", "wrong"]
    press(page, "CSV of all metrics")
    metrics = saved("metrics.csv")
    assert len(metrics) == 1 + 21
    assert metrics[0][:3] == ["run", "step", "stage"]
    assert (
        float(metrics[6][metrics[0].index("code_ratio")])
        == open_run(run_dir).learning[0]["code_ratio"]
    )
    regions = "document.querySelectorAll({}).length"
    assert page.run(regions.format("'.wide'")) == page.run(regions.format("'.wide + .csv'")) > 0
    page.click("#behaviour .csv")
    table = saved("run-step-3.csv")
    assert table[0] == ["behaviour", "of answers %", "accuracy with it %", "rule"]


HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "<svg onload='window.hacked = 1'>\u202eevil\u202c \0 \x1b[31m \u2066 \ud800 \u2028 "
    "javascript:alert(1) ${1} `"
)


FIELDS = ("question", "reference", "answer", "level", "subject", "stop_reason", "verdict")


def test_hostile_text_stays_text_and_hides_nothing(show, make, turn):
    long = "x" * 1_000_000
    answer = make(
        HOSTILE,
        **dict.fromkeys(FIELDS, HOSTILE),
        reward_terms={HOSTILE: 1.0},
        turns=(
            replace(turn(HOSTILE, HOSTILE, HOSTILE, HOSTILE), tool_name=HOSTILE),
            turn(f"```python\n{long}\n```", long), turn("<tool_call>" * 5000 + "```" * 5000),
        ),
    )  # fmt: skip
    page = show(answer, make(HOSTILE, 1))
    for view in ("Text", "Tokens", "Tree"):
        open_answer(page)
        press(page, view)
        page.wait(f"document.querySelector('#detail [aria-pressed=true]').textContent === {view!r}")
    press(page, "Text")
    page.wait("document.querySelector('#detail .turn') !== null")
    assert page.run("window.hacked === undefined")
    assert (
        page.run(
            "document.querySelectorAll('main img, main svg:not(figure svg), main script').length"
        )
        == 0
    )
    shown = page.run("document.querySelector('#detail .prose').textContent")
    for mark in ("U+202E", "U+0000", "U+001B", "U+2066"):
        assert mark in shown
    assert "<img src=x onerror=" in shown
    assert page.run("byId('detail').textContent.length") < 200_000
    press(page, "Show all 1,000,000 characters (20,000 shown)")
    lengths = "[...document.querySelectorAll('#detail pre')].map(p => p.textContent.length)"
    assert max(page.run(lengths)) == 1_000_000
    page.screen(360, 740, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 360


def test_search_order_and_problem(show, make, turn):
    page = show(
        make("p2", reward=0.5), make("p10", reward=-1.0, turns=[turn("A needle (x+1) here.")]),
        make("p2", 1, reward=2.0),
    )  # fmt: skip
    ids = "JSON.stringify(found.map(i => [i.id, i.sample]))"

    def choose(name, value, wanted):
        field = f"byId('filters').elements.{name}"
        page.run(f"byId('clear').click(); {field}.value = {json.dumps(value)}; refresh()")
        page.wait(f"{ids} === {json.dumps(json.dumps(wanted, separators=(',', ':')))}")

    choose("order", "reward, high first", [["p2", 1], ["p2", 0], ["p10", 0]])
    choose("order", "problem", [["p2", 0], ["p2", 1], ["p10", 0]])
    choose("problem", "p2", [["p2", 0], ["p2", 1]])
    choose("text", "needle (X+1)", [["p10", 0]])
    open_answer(page)
    assert texts(page, "#detail mark") == ["needle (x+1)"]
    choose("text", "/ne+dle .x/", [["p10", 0]])
    page.run("byId('filters').elements.text.value = '/(/'; refresh()")
    page.wait("byId('found').textContent.startsWith('Not a pattern')")


def test_nothing_is_unpacked_before_it_is_looked_at(show, make, turn):
    text = [turn("".join(chr(97 + (i * i + j) % 26) for j in range(3000))) for i in range(400)]
    page = show(*(make(f"p{i}", turns=[one]) for i, one in enumerate(text)))
    assert page.run("document.querySelectorAll('script[id^=chunk]').length") >= 3
    assert page.run("unpacked.size") == 0
    open_answer(page)
    assert page.run("[...unpacked.keys()].join()") == "chunk-0"


def test_print_leaves_out_what_paper_cannot_do(show, make):
    page = show(make())
    open_answer(page)
    page.call("Emulation.setEmulatedMedia", media="print", features=[])
    gone = "document.querySelector({!r}).offsetParent === null"
    for selector in ("#filters", "#theme", ".csv", "#detail .actions"):
        assert page.run(gone.format(selector)), selector
    assert page.run("document.querySelector('#detail .turn').offsetParent !== null")
