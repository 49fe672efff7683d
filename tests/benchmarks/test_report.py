"""Run directories, figure, numbers and page."""

import csv
import gzip
import itertools
import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from math import isnan, nan

import pytest

from agents.core.run.storage import RecordError
from benchmarks.heldout.cases import Case
from benchmarks.report import figure5, open_run, write_csv
from benchmarks.report.page import PageOptions, labels, write_page
from benchmarks.report.plots import smooth
from benchmarks.report.runs import series
from benchmarks.report.tables import Table
from benchmarks.report.transcripts import collect, left_at, spread, survey

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


def data_of(page):
    text = page.read_text()
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


def whole_of(page, row):
    """What the page unpacks of an answer when it is opened."""
    number, place = row["chunk"]
    packed = re.search(
        rf'<script id="chunk-{number}" type="text/plain">(.*?)</script>', page.read_text()
    )
    return json.loads(gzip.decompress(b64decode(packed[1])))[place]


def rewrite_metrics(run, change):
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))


def test_a_run_is_read_whole(run_dir):
    run = open_run(run_dir)
    assert run.stages == ("sft", "rl")
    assert len(run.stage("sft")) == 5
    assert len(run.learning) == 16
    assert list(run.evaluations) == ["before", "after"]
    assert len(list(run.transcripts())) == 16 * 32
    assert [step for step, _ in run.steps()] == list(range(16))
    assert survey(run).latest[0] == "after"
    assert len(survey(run).latest[1]) == 32


def test_a_step_that_was_done_twice_counts_once(run_dir):
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 15, "stage": "rl", "code_ratio": 0.125}) + "\n")
        file.write('{"step": 16, "stage": "r')
    run = open_run(run_dir)
    assert len(run.learning) == 16
    assert run.learning[-1]["code_ratio"] == 0.125


def test_folders_that_are_no_runs(tmp_path):
    with pytest.raises(RecordError, match="expected a run directory"):
        open_run(tmp_path / "nothing")
    with pytest.raises(RecordError, match="neither metrics"):
        open_run(tmp_path)
    (tmp_path / "a.summary.json").write_text("{}")
    with pytest.raises(RecordError, match="not a summary"):
        open_run(tmp_path)


def test_null_is_a_gap(run_dir):
    rewrite_metrics(run_dir, lambda lines: [line | {"pass_ratio": None} for line in lines])
    assert all(map(isnan, series(open_run(run_dir).learning, "pass_ratio")))
    figure5(open_run(run_dir), run_dir / "a.png")


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_figure_is_a_picture_for_any_length(make_run, steps):
    run = make_run(steps=steps)
    figure5(open_run(run), run / "figure5.png")
    from PIL import Image

    with Image.open(run / "figure5.png") as image:
        assert image.size == (1650, 930)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50


def test_figure_without_a_learning_step_is_refused_and_nothing_is_written(run_dir):
    rewrite_metrics(run_dir, lambda lines: lines[:5])
    with pytest.raises(RecordError, match="no step with a code_ratio"):
        figure5(open_run(run_dir), run_dir / "figure5.png")
    assert not (run_dir / "figure5.png").exists()


def test_numbers_are_all_there(run_dir):
    write_csv(open_run(run_dir), run_dir / "figure5.csv")
    with (run_dir / "figure5.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    assert rows[0]["stage"] == "sft"
    assert rows[0]["code_ratio"] == ""
    assert float(rows[5]["code_ratio"]) == open_run(run_dir).learning[0]["code_ratio"]


def test_smoothing_keeps_ends_and_gaps():
    assert smooth([1.0, 5.0, 3.0], 3) == [1.0, 3.0, 3.0]
    assert isnan(smooth([nan, nan], 3)[0])
    assert smooth([0.0, 1.0], 1) == [0.0, 1.0]


class Outline(HTMLParser):
    """Collects ids, and everything that could reach a network or run a script."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.handlers = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in {"src", "href", "action", "srcset", "data"}:
                self.links.append(value)
            elif name.startswith("on"):
                self.handlers.append((tag, name))


def test_page_is_whole_and_needs_no_network(run_dir):
    page = run_dir / "report.html"
    write_page([open_run(run_dir)], page)
    text = page.read_text()
    outline = Outline(text)
    assert {"curves", "results", "behaviour", "transcripts", "settings"} <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))
    assert all(link.startswith("#") for link in outline.links)
    assert not outline.handlers
    assert "url(" not in text
    assert "@import" not in text
    assert "<!--" not in text
    assert len(data_of(page)["transcripts"]) == 16 * 32 + 64


def test_page_keeps_text_that_looks_like_html_as_text(run_dir):
    path = run_dir / "transcripts" / "step-000015.jsonl"
    line = json.loads(path.read_text().splitlines()[0])
    line |= {"question": EVIL, "answer": EVIL, "level": EVIL, "problem_id": EVIL}
    line["turns"][0]["text"] = EVIL + "\ud800 \u2028 <!-- <!--data-->"
    path.write_text(json.dumps(line) + "\n")
    (run_dir / "config.json").write_text(json.dumps({EVIL: EVIL}))
    page = run_dir / "report.html"
    write_page([open_run(run_dir)], page)
    assert "<img" not in page.read_text()
    assert set(re.findall("<script([^>]*)>", page.read_text())) == {
        "",
        ' id="data" type="application/json"',
        ' id="metrics" type="application/json"',
        *(f' id="{name}-0" type="text/plain"' for name in ("chunk", "tokens", "pieces")),
    }
    last = whole_of(page, data_of(page)["transcripts"][-1])
    assert last["question"] == EVIL
    assert last["turns"][0]["text"].startswith(EVIL)


def test_page_of_several_runs_names_them(make_run, tmp_path):
    runs = [open_run(make_run(name=name, seed=seed, steps=3)) for seed, name in enumerate("ab")]
    page = tmp_path / "both.html"
    write_page(runs, page)
    text = page.read_text()
    assert "a: after" in text
    assert "b: after" in text
    assert {item["run"] for item in data_of(page)["transcripts"]} == {0, 1}


def test_page_of_an_evaluation_alone(run_dir, tmp_path):
    page = tmp_path / "page.html"
    write_page([open_run(run_dir / "eval")], page)
    outline = Outline(page.read_text())
    assert "curves" not in outline.ids
    assert {"results", "transcripts"} <= set(outline.ids)


def test_page_of_a_run_in_its_warm_start_says_so(run_dir):
    rewrite_metrics(run_dir, lambda lines: lines[:5])
    write_page([open_run(run_dir)], run_dir / "report.html")
    assert "yet; 5 of sft, loss 0.400." in (run_dir / "report.html").read_text()


def test_a_branch_belongs_to_the_turn_in_which_it_begins(make, turn):
    turns = (replace(turn("one"), start=0, end=2), replace(turn("two"), start=3, end=5))
    left = make("p", turns=turns, prompt_ids=(1, 2), ids=(10, 11, 12, 13, 14))
    places = {(1, 2): 0, (1, 2, 10): 0, (1, 2, 10, 11, 12): 1, (1, 2, 10, 11, 12, 13): 1}
    for prompt, place in places.items():
        assert left_at(left, make("p", prompt_ids=prompt)) == place
    assert left_at(left, make("p", prompt_ids=(1, 2, 99))) is None


def test_thinning_keeps_whole_groups_and_says_so(run_dir, tmp_path):
    run = open_run(run_dir)
    shown, total = collect([run], [survey(run)], 200)
    assert total == 576
    assert 150 <= len(shown) <= 200
    groups = {}
    for item in shown:
        key = (item.place, item.trajectory.problem_id)
        groups[key] = groups.get(key, 0) + 1
    assert set(groups.values()) == {4}
    # Of a problem all places, so that one can be compared with another.
    places = [sum(problem == name for _, problem in groups) for name in {p for _, p in groups}]
    assert sorted(places)[1:] == [18, 18]
    write_page([run], tmp_path / "page.html", PageOptions(limit=200))
    assert "200 of 576 answers shown, whole groups, thinned" in (tmp_path / "page.html").read_text()


def test_every_beginning_of_a_spread_covers_the_whole():
    for count in (1, 2, 17, 100):
        order = spread(count)
        assert sorted(order) == list(range(count))
        for taken in (5, 20, 50):
            places = [-1, *sorted(order[:taken]), count]
            gaps = [b - a for a, b in itertools.pairwise(places)]
            assert max(gaps) <= max(2, 4 * count // taken)


def test_runs_of_one_name_are_told_apart(make_run, tmp_path):
    paths = [make_run(name=name, steps=1) for name in ("x/run", "y/run")]
    assert labels([open_run(path) for path in paths]) == ["x/run", "y/run"]
    assert labels([open_run(paths[0])]) == ["run"]
    assert len(set(labels([open_run(paths[0])] * 2))) == 2


def test_long_texts_and_many_figures_leave_their_number(run_dir, make, turn, monkeypatch):
    from benchmarks.report import embedding

    monkeypatch.setattr(embedding, "TEXT", 100)
    monkeypatch.setattr(embedding, "FIGURES", 10)
    drawn = replace(turn("a" * 150 + "b" * 50), images=("QUJD", "QUJD"), images_dropped=1)
    path = run_dir / "transcripts" / "step-000015.jsonl"
    lines = [json.dumps(make(f"p{i}", turns=[drawn]).to_json()) + "\n" for i in range(2)]
    path.write_text("".join(lines))
    page = run_dir / "report.html"
    write_page([open_run(run_dir)], page)
    assert "; 2 of 4 figures." in page.read_text()
    rows = [whole_of(page, row)["turns"][0] for row in data_of(page)["transcripts"][-2:]]
    assert rows[0]["text"] == "a" * 50 + "\n[100 characters are not on this page]\n" + "b" * 50
    assert sorted((len(row["figures"]), row["dropped"]) for row in rows) == [(0, 3), (2, 1)]


def test_intervals_in_the_curves_are_those_of_the_step(run_dir):
    page = run_dir / "report.html"
    write_page([open_run(run_dir)], page)
    accuracy = open_run(run_dir).learning[3]["accuracy"]
    tip = re.search(r"in training, step 3: ([\d.]+) \[([\d.]+), ([\d.]+)\]", page.read_text())
    assert float(tip[1]) == pytest.approx(accuracy, abs=5e-4)
    assert float(tip[2]) < accuracy < float(tip[3])


def test_no_band_where_transcripts_are_only_a_part_of_the_step(run_dir):
    path = run_dir / "transcripts" / "step-000003.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    write_page([open_run(run_dir)], run_dir / "report.html")
    text = (run_dir / "report.html").read_text()
    assert re.search(r"in training, step 3: [\d.]+<", text)
    assert re.search(r"in training, step 4: [\d.]+ \[", text)


def test_every_behaviour_has_a_row(run_dir):
    write_page([open_run(run_dir)], run_dir / "report.html")
    text = (run_dir / "report.html").read_text()
    for case in Case:
        assert f"<td>{case.replace('_', ' ')}</td>" in text


def test_charts_leave_gaps_and_say_when_nothing_was_measured(run_dir):
    rewrite_metrics(
        run_dir,
        lambda lines: [
            line | {"reward": None} | ({"accuracy": None} if line["step"] == 3 else {})
            for line in lines
        ],
    )
    write_page([open_run(run_dir)], run_dir / "report.html")
    text = (run_dir / "report.html").read_text()
    assert "in training, step 3:" not in text
    assert "in training, step 4:" in text
    assert text.count("not measured</p>") == 1


def test_charts_take_the_colours_of_the_page(run_dir):
    write_page([open_run(run_dir)], run_dir / "report.html")
    text = (run_dir / "report.html").read_text()
    drawings = "".join(re.findall("<svg.*?</svg>", text, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}", drawings)) <= {"#000000", "#ffffff"}
    assert "var(--c2)" in drawings
    # Inside HTML a reference with another prefix shows nothing.
    assert set(re.findall(r"[\w:]*href", drawings)) == {"xlink:href"}


def test_markdown_cells_cannot_break_the_table():
    table = Table("t", ("a", "b"), (("x|y", "1\n2"),))
    assert table.markdown().splitlines()[-1] == "| x\\|y | 1 2 |"
