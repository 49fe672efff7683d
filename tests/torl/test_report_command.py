"""`torl report` on real folders."""

import shutil

import pytest


def test_it_writes_page_figure_and_numbers(torl, run_dir):
    ran = torl("report", run_dir)
    assert ran.code == 0
    for name in ("report.html", "figure5.png", "figure5.csv"):
        assert (run_dir / name).stat().st_size > 50
        assert name in ran.out


@pytest.mark.long
def test_several_runs_share_one_page(torl, run_dir, tmp_path):
    page, other = tmp_path / "page.html", tmp_path / "other"
    shutil.copytree(run_dir, other)
    assert torl("report", run_dir, other, run_dir, "--out", page).code == 0
    for name in ("run", "other"):
        assert page.read_text().count(f"<title>{name}: answers with a call") == 10


def test_refusals(refused, tmp_path):
    assert "at least one run" in refused("report")
    assert "expected a run directory" in refused("report", tmp_path / "nothing")
    assert "neither metrics" in refused("report", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_page(refused, run_dir, tmp_path):
    assert "expected the page" in refused("report", run_dir, "--out", tmp_path)
