"""Views of the page in Chromium: figures, calls, tokens, trees, two runs side by side."""

import json
import struct
import zlib
from base64 import b64encode
from dataclasses import replace

import pytest
from chromium import CHROMIUM, open_answer, press, texts

from benchmarks.report import open_run
from benchmarks.report.page import PageOptions, write_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]


def png(width, height):
    """A black picture."""

    def part(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" * (width + 1)) * height)
    data = part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()


def test_figures_that_a_program_drew_are_shown(show, make, tool_turn):
    drawn = replace(
        tool_turn(), images=(png(60, 20), png(20, 60), "no base64 <img>"), images_dropped=2
    )
    page = show(make(turns=(drawn,)), make(sample=1))
    assert "3 of 3 figures" in page.run("document.querySelector('#transcripts .note').innerText")
    assert "5 figures" in page.run("document.querySelector('#list li').innerText")
    open_answer(page)
    size = (
        "[...document.querySelectorAll('#detail img')].map(i => [i.naturalWidth, i.naturalHeight])"
    )
    page.run("document.querySelector('#detail img').scrollIntoView()")
    page.wait(f"JSON.stringify({size}) === '[[60,20],[20,60]]'")
    assert "2 more of its figures" in page.run("document.getElementById('detail').innerText")


def test_calls_of_any_tool_show_name_arguments_result_and_error(show, make, turn):
    def call(name, text, seen, status="ok", error=""):
        return replace(turn(text, seen, status, error, kind="tool"), tool_name=name)

    arguments = {"query": "select 1\nfrom t", "limit": 3}
    hermes = (
        "<tool_call>\n" + json.dumps({"name": "sql", "arguments": arguments}) + "\n</tool_call>"
    )
    turns = (
        call(
            "sql",
            f"I ask.\n{hermes}",
            "\n<tool_response>\nno t\n</tool_response>\n",
            "error",
            "ToolError",
        ),
        call("search", '<search>{"words": "torl"}</search>', "\n<output>\n3 pages\n</output>\n"),
        call("python", "<python>print('<b>')</python>", "\n<output>\n<b>\n</output>\n"),
        replace(
            turn("<tool_call>{oops</tool_call>", "[not valid]", "error", "MalformedCall"),
            action_kind="malformed",
        ),
        turn("```sh\nls\n```\nSo 5."),
    )
    page = show(make(turns=turns))
    open_answer(page)
    heads = texts(page, "#detail .turn > small")
    assert heads[0].startswith("Turn 1 · sql: error (ToolError)")
    assert heads[1].startswith("Turn 2 · search: ok")
    assert heads[2].startswith("Turn 3 · program: ok")
    assert heads[3].startswith("Turn 4 · call: error (MalformedCall)")
    calls = page.run(
        "[...document.querySelectorAll('#detail dl.call')].map(d => [d.dataset.kind, d.innerText])"
    )
    assert calls == [
        ["call of sql", "query\nselect 1\nfrom t\nlimit\n3"],
        ["call of search", "words\ntorl"],
    ]
    kinds = page.run(
        "[...document.querySelectorAll('#detail pre[data-kind]')]"
        ".map(p => [p.dataset.kind, p.textContent])"
    )
    assert ["code", "print('<b>')"] in kinds
    assert ["call that cannot be read", "{oops"] in kinds
    assert ["sh", "ls"] in kinds
    assert [text for kind, text in kinds if kind == "output"] == [
        "no t",
        "3 pages",
        "<b>",
        "[not valid]",
    ]
    page.run("byId('filters').elements.tool.value = 'search'; refresh()")
    page.wait("found.length === 1")


def test_tokens_show_the_loss_mask_and_how_likely_each_was(show, make, run_dir):
    from agents.core.testing.tiny import byte_tokenizer

    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(run_dir / "warm-start")
    prompt, said, seen = (tokenizer.encode(text) for text in ("Q: é?", "ab\n", "<i>"))
    answer = make(
        prompt_ids=prompt, ids=(*said, *seen), loss_mask=(1,) * 3 + (0,) * 3,
        logprobs=(-0.5, -3.25, float("nan"), 0.0, 0.0, 0.0),
    )  # fmt: skip
    page = show(answer)
    open_answer(page)
    press(page, "Tokens")
    page.wait("document.querySelector('#detail .tokens') !== null")
    assert "6 of the prompt, 3 sampled (loss mask 1), 3 added" in page.run(
        "byId('detail').innerText"
    )
    spans = page.run(
        "[...document.querySelectorAll('#detail .tokens .token')]"
        ".map(t => [t.className, t.textContent, t.title])"
    )
    assert len(spans) == 6 + 6
    assert [text for kind, text, _ in spans if kind == "token sampled"] == ["a", "b", "↵\n"]
    assert [text for kind, text, _ in spans if kind == "token added"] == ["<", "i", ">"]
    assert spans[7][2] == f"sampled 1, id {said[1]}, log p -3.25"
    colour = "getComputedStyle(document.querySelectorAll('#detail .sampled')[{}]).backgroundColor"
    plain = page.run(colour.format(1)), page.run(colour.format(0))
    assert plain[0] == plain[1]
    page.run(
        "(s => { s.value = 'logprob'; s.dispatchEvent(new Event('input')); })"
        "(document.querySelector('#detail select'))"
    )
    assert page.run(colour.format(1)) != page.run(colour.format(0))
    # The least likely one is found by its button.
    press(page, "-3.3")
    assert page.run("document.activeElement.textContent") == "b"


def test_tokens_beyond_the_limit_are_counted(show, make):
    answers = [make(f"p{i}") for i in range(4)]
    page = show(*answers, options=PageOptions(tokens=10))
    assert "tokens of 2 of 4" in page.run("document.querySelector('#transcripts .note').innerText")
    open_answer(page, page.run("found.findIndex(i => !i.ids)"))
    press(page, "Tokens")
    page.wait("byId('detail').innerText.includes('not on this page')")


@pytest.fixture
def split(make, tool_turn):
    """An answer whose second turn failed and was written anew three times, twice in vain."""
    first, failed, last = tool_turn(), tool_turn("error", "NameError"), tool_turn()
    first, failed = replace(first, start=0, end=2), replace(failed, start=3, end=5)
    ids = {"ids": tuple(range(10, 16)), "loss_mask": (1,) * 6, "logprobs": (-1.0,) * 6}
    left = make("split", 1, turns=(first, failed), prompt_ids=(1, 2), **ids)
    others = [make("split", 0, turns=(first, last)), make("split", 2, False, turns=(last,))]
    anew = [
        make("split", 1, turns=(tool_turn(*how),), prompt_ids=(1, 2, 10, 11, 12, 13))
        for how in (("ok",), ("error", "TypeError"), ("error", "KeyError"))
    ]
    return [left, *others], anew


def test_the_branches_of_a_turn_open(show, split):
    page = show(*split[0], branches=split[1])
    page.run("byId('filters').elements.status.value = 'error'; refresh()")
    page.wait("found.length === 1")
    open_answer(page)
    assert texts(page, ".branches summary") == [
        "Branches of turn 1: 2 other answers, 1 correct",
        "Branches of turn 2: written anew 3 times, 1 ran; 1 other answer, 1 correct",
    ]
    page.run("document.querySelectorAll('.branches summary')[1].focus()")
    page.press("Enter")
    text = page.run("document.querySelectorAll('.branches')[1].innerText")
    assert [text.count(f"({name})") for name in ("NameError", "TypeError", "KeyError")] == [0, 1, 1]
    assert all(text.count(f"Turn 2 anew, {i} ·") == 1 for i in (1, 2, 3))
    page.click(".branches[open] > button")
    page.wait("document.querySelector('#detail h3').innerText.endsWith('split #0')")


def test_the_tree_of_a_problem(show, split):
    page = show(*split[0], branches=split[1])
    open_answer(page, page.run("found.findIndex(i => i.sample === 1)"))
    press(page, "Tree")
    page.wait("document.querySelector('#detail .tree') !== null")
    lines = texts(page, "#detail .line")
    assert [line.split(" right")[0] for line in lines] == [
        "1. program ok 2/3", "2. program ok 1/1", "2. program NameError 1/1",
    ]  # fmt: skip
    assert [text.replace("✓ ", "").replace("✗ ", "") for text in texts(page, "#detail .leaf")] == [
        "wrong #2", "correct #0", "correct #1",
    ]  # fmt: skip
    # The third answer ends where the others go on, so the fork is under the first turn.
    assert texts(page, "#detail .anew summary") == [
        "1. written anew: ok, reward 1",
        "2. written anew: error (TypeError), reward 1",
        "3. written anew: error (KeyError), reward 1",
    ]
    assert texts(page, "#detail .line.chosen") == [lines[0], lines[2]]
    press(page, "✓ correct #0")
    page.wait("document.querySelector('#detail h3').innerText.endsWith('split #0')")
    assert page.run("document.querySelector('.leaf[aria-current]').innerText") == "✓ correct #0"


def test_an_answer_that_branched_off_another_says_where(show, make, tool_turn, turn):
    root = make("t", 0, turns=(tool_turn(), turn("So 1.")))
    page = show(root, make("t", 1, turns=(tool_turn(), turn("So 2.")), parent=0, shared=2))
    open_answer(page, 1)
    assert "branched off #0 after 2 tokens" in page.run("byId('detail').innerText")
    press(page, "Tree")
    page.wait("document.querySelector('#detail .tree') !== null")
    assert texts(page, "#detail .line")[0].startswith("1. program ok 2/2")
    assert texts(page, "#detail .leaf") == ["✓ correct #0", "✓ correct #1 · from #0 after 2 tokens"]


def test_two_runs_side_by_side(browser, make_run, tmp_path):
    runs = [open_run(make_run(name=name, seed=seed, steps=3)) for seed, name in enumerate("ab")]
    write_page(runs, tmp_path / "both.html")
    browser.events.clear()
    browser.screen(1200)
    browser.open(tmp_path / "both.html")
    browser.wait("found.length > 0")
    assert browser.run("[byId('sides').elements.a.value, byId('sides').elements.b.value]") == [
        '["a","after"]', '["b","after"]',
    ]  # fmt: skip
    told = {}
    for index, run in enumerate(runs):
        kept = [t for t in survey_latest(run) if t.scorable]
        for one in kept:
            told.setdefault(one.problem_id, ([], []))[index].append(one.correct)
    lines = browser.run(
        "[...document.querySelectorAll('#compared tr')]"
        ".map(r => [...r.cells].slice(0, 4).map(c => c.innerText))"
    )
    assert len(lines) == 8
    for problem, a, b, gap in lines:
        left, right = told[problem]
        assert (a, b) == (f"{sum(left)}/{len(left)}", f"{sum(right)}/{len(right)}")
        wanted = 100 * (sum(right) / len(right) - sum(left) / len(left))
        assert abs(float(gap) - wanted) <= 0.51
    assert [abs(float(line[3])) for line in lines] == sorted(
        (abs(float(line[3])) for line in lines), reverse=True
    )
    browser.click("#compared button")
    browser.wait("document.querySelectorAll('#pair article').length === 2")
    first, second = texts(browser, "#pair article")
    assert "a after #0" in first
    assert "b after #0" in second
    browser.click("#pair article:last-child [aria-label^=Next]")
    browser.wait(
        "document.querySelector('#pair article:last-child').innerText.includes('b after #1')"
    )
    place = browser.run("location.hash")
    browser.open(tmp_path / "both.html", place)
    browser.wait("document.querySelectorAll('#pair article').length === 2")
    assert "b after #1" in texts(browser, "#pair article")[1]
    worse = sum(float(line[3]) < 0 for line in lines)
    browser.run(
        "byId('sides').elements.which.value = 'worse in B';"
        "byId('sides').dispatchEvent(new Event('input'))"
    )
    assert len(texts(browser, "#compared tr")) == worse
    assert browser.problems() == []


def survey_latest(run):
    from benchmarks.report.transcripts import survey

    return survey(run).latest[1]
