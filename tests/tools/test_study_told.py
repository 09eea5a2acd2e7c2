"""What tools/study.py tells of records: intervals, table, picture, docs/results.md."""

import math
import random
import re
import statistics
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from _study.plot import draw_frontier
from _study.record import write_record
from _study.report import report, write_report
from _study.statistics import _T, Estimate, by_arm, difference, estimate
from _study.study import load_study
from _study.table import table
from matplotlib.axes import Axes
from PIL import Image

from ausam_core.errors import AusamError
from tests.tools.study_cases import ROOT, STUDY, write_study
from tests.tools.test_study import record_of


@pytest.fixture
def study(tmp_path):
    return load_study(write_study(tmp_path))


def test_an_interval_is_students(tmp_path):
    stats = pytest.importorskip("scipy.stats")
    for degrees, value in enumerate(_T, start=1):
        assert value == pytest.approx(stats.t.ppf(0.975, degrees), abs=5e-4)


def test_an_interval_holds_the_truth_in_95_of_100_draws():
    chance = random.Random(0)
    draws = [estimate([chance.gauss(3, 2) for _ in range(5)]) for _ in range(4000)]
    held = sum(abs(found.mean - 3) <= found.half for found in draws) / len(draws)
    assert held == pytest.approx(0.95, abs=0.01)


def test_a_single_seed_has_no_interval_and_is_never_certain():
    assert estimate([50.0]) == Estimate(50.0, math.inf, 1)
    assert not estimate([50.0]).excludes_zero


@pytest.mark.parametrize("count", [0, 32])
def test_an_interval_over_no_seeds_or_too_many_is_refused(count):
    with pytest.raises(AusamError, match=f"1 to 31 seeds, found {count}"):
        estimate([1.0] * count)


def test_a_difference_is_paired_over_the_seeds_that_both_have(study):
    for seed, score in enumerate([50.0, 60.0, 70.0]):
        write_record(study, record_of(study, "sgd", seed, score=score))
    scores = {0: 51.0, 1: 61.5, 9: 10.0}
    records = [record_of(study, "sam", seed, score=score) for seed, score in scores.items()]
    sgd = [record_of(study, "sgd", seed, score=s) for seed, s in enumerate([50.0, 60.0, 70.0])]
    found = by_arm([*records, *sgd])
    ours = difference(found["sam"], found["sgd"])
    assert (ours.n, ours.mean) == (2, 1.25)
    assert ours.half == pytest.approx(12.706 * statistics.stdev([1.0, 1.5]) / math.sqrt(2))
    assert difference({0: records[0]}, {1: records[1]}) is None


@pytest.fixture
def bars(monkeypatch):
    """What a picture is drawn of: the widths of its bars, and its words."""
    seen = SimpleNamespace(spans=[], texts=[])
    plot, text, annotate = Axes.plot, Axes.text, Axes.annotate

    def plotted(axes, x, *args, **kwargs):
        seen.spans.append(x[1] - x[0])
        return plot(axes, x, *args, **kwargs)

    def written(axes, x, y, words, *args, **kwargs):
        seen.texts.append(words)
        return text(axes, x, y, words, *args, **kwargs)

    def annotated(axes, words, *args, **kwargs):
        seen.texts.append(words)
        return annotate(axes, words, *args, **kwargs)

    monkeypatch.setattr(Axes, "annotate", annotated)
    monkeypatch.setattr(Axes, "plot", plotted)
    monkeypatch.setattr(Axes, "text", written)
    return seen


def fill(study, arm: str, scores: list[float], **given) -> None:
    for seed, score in enumerate(scores):
        write_record(study, record_of(study, arm, seed, score=score, **given))


def test_the_table_is_bold_only_where_the_interval_excludes_0(study):
    fill(study, "sgd", [50.0, 51.0, 52.0])
    fill(study, "sam", [52.0, 53.1, 53.9])
    fill(study, "late", [50.0, 53.0, 51.0], more={"wrong_labels_chosen": 41.5})
    rows = {line.split("|")[1].strip(): line for line in table(study).splitlines()}
    assert "| **+2.00 ± 0.25** |" in rows["SAM"]
    assert "| +0.33 ± 3.79 |" in rows["AUSAM, late"] and "41.5 %" in rows["AUSAM, late"]
    assert "51.00 ± 1.00" in rows["SGD"] and "| **−2.00 ± 0.25** |" in rows["SGD"]
    assert list(rows)[2:] == ["SAM", "AUSAM, late", "SGD"]


@pytest.mark.parametrize(
    ("losses", "shown"),
    [((1.0, 0.5), ("1.000", "0.500")), ((0.00583, 0.0005), ("0.00583", "0.00050"))],
)
def test_the_table_shows_three_digits_of_a_loss_of_any_size(study, losses, shown):
    for arm, loss in zip(("sgd", "sam"), losses, strict=True):
        write_record(study, record_of(study, arm, training_loss=loss))
    lines = table(study).splitlines()
    assert all(any(f"| {text} |" in line for line in lines) for text in shown)


def test_the_table_says_over_how_many_seeds_a_difference_is_where_it_is_fewer(study):
    fill(study, "sgd", [50.0, 51.0])
    fill(study, "sam", [52.0, 53.1, 53.9])
    (row,) = [line for line in table(study).splitlines() if line.startswith("| SAM |")]
    assert "(n = 2)" in row


def test_what_was_not_spent_as_budgeted_is_shown_so(study, bars):
    fill(study, "sgd", [50.0, 51.0, 52.0])
    fill(study, "sam", [52.0, 53.1, 53.9], passes=650.0)
    # As near to 400 as whole epochs of 200 can come; and to a hundredth.
    fill(study, "late", [52.0, 53.1, 53.9], passes=450.0)
    rows = {line.split("|")[1].strip(): line for line in table(study).splitlines()}
    assert rows["SAM"].startswith("| SAM | **1.625, not 1** |")
    assert rows["SGD"].startswith("| SGD | 1.00 |")
    assert rows["AUSAM, late"].startswith("| AUSAM, late | 1.12 |")
    draw_frontier(study)
    titles = [text for text in bars.texts if text.startswith("at ")]
    assert titles == ["at equal cost", "at 1.625 times the cost"]


@pytest.mark.parametrize(("common", "drawn"), [(2, 0), (3, 1)])
def test_a_bar_is_over_three_common_seeds_or_none(study, bars, common, drawn):
    fill(study, "sgd", [50.0, 51.0, 53.0][:common])
    fill(study, "sam", [52.0, 53.1, 53.9])
    draw_frontier(study)
    assert len(bars.spans) == drawn


def test_the_picture_may_leave_arms_to_the_table(study, bars):
    fill(study, "sgd", [50.0, 51.0, 53.0])
    fill(study, "sam", [52.0, 53.1, 53.9])
    fill(study, "late", [12.0, 11.0, 13.0])
    draw_frontier(replace(study, drawn=["sgd", "sam"]))
    assert len(bars.spans) == 1 and "12.0" not in bars.texts
    assert any("2 of 3 arms" in text for text in bars.texts)


def test_a_picture_that_cannot_be_written_is_one_sentence(study):
    fill(study, "sgd", [50.0])
    with pytest.raises(AusamError, match="the picture /proc/a/b.png cannot be written"):
        draw_frontier(study, Path("/proc/a/b.png"))
    with pytest.raises(AusamError, match="the picture .*tiny is of no kind .* end its name in"):
        draw_frontier(study, study.folder)


@pytest.mark.parametrize("arms", [["sgd"], ["sam"], ["sgd", "sam", "late"]], ids=len)
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_is_drawn_of_whatever_records_there_are(study, arms, seeds):
    for arm in arms:
        fill(study, arm, [50.0, 51.0, 53.0][:seeds])
    with Image.open(draw_frontier(study)) as picture:
        assert picture.width > 800
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 50


def test_the_report_holds_each_study_with_question_picture_table_and_words(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "studies").mkdir()
    text = STUDY.replace("FOLDER", str(tmp_path / "config"))
    write_study(tmp_path / "config")
    path = tmp_path / "studies/tiny.py"
    path.write_text(text + '\nfound = "It runs."\nlimits = "All else."\n')
    page = tmp_path / "docs/results.md"
    assert "## Not run yet\n\n`tiny` (Does it run?)." in report(tmp_path / "studies")
    fill(load_study(path), "sgd", [50.0, 51.0])
    page.parent.mkdir()
    write_report(tmp_path / "studies", page)
    told = page.read_text()
    assert "Not run yet" not in told and "## Does it run?\n\nOn a handful of images." in told
    assert "](studies/tiny.png)" in told and (page.parent / "studies/tiny.png").is_file()
    assert "| SGD | 1.00 | 4 | 2 |" in told
    assert "**Found.** It runs." in told and "**What it does not say.** All else." in told


def test_the_report_begins_with_the_answers_in_their_order_and_ends_with_choices(tmp_path):
    write_study(tmp_path)  # the config; studies in a folder of their own
    folder = tmp_path / "studies"
    folder.mkdir()
    text = STUDY.replace("FOLDER", str(tmp_path))
    says = {
        "a": 'chooses = "ρ for others"\nplace = 1\nfound = "0.1."',
        "b": 'found = "Level, |d| < 0.5. And more."',
        "c": 'place, headline = 2, "sam"\nfound = """**Yes, it\npays.** And more."""',
    }
    for name, said in says.items():
        (folder / f"{name}.py").write_text(text.replace("Does it run", f"{name}, does it") + said)
        fill(load_study(folder / f"{name}.py"), "sgd", [50.0, 51.0])
    fill(load_study(folder / "c.py"), "sam", [51.0, 52.0])
    told = report(folder)
    row = r"^\| \[(\w), does it\?\]\(#\1\) \| (.*) \| 2 \| 60 \| (.*) \|$"
    assert re.findall(row, told, re.MULTILINE) == [
        ("c", "Yes, it pays.", "SAM: **+1.00 ± 0.00**"),
        ("b", r"Level, \|d\| < 0.5.", ""),
    ]
    heads = re.findall(r"^(#+) (.*)$", told, re.MULTILINE)
    assert heads[3:] == [
        ("##", "c, does it?"),
        ("##", "b, does it?"),
        ("##", "How settings were chosen"),
        ("###", "a, does it?"),
    ]
    assert "Chooses ρ for others." in told


def test_results_are_what_the_records_say():
    """`python tools/study.py report` makes the page anew."""
    page = ROOT / "docs/results.md"
    assert page.read_text() == report(ROOT / "studies")


def test_the_page_of_results_links_to_files_that_are_there():
    page = ROOT / "docs/results.md"
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).is_file(), link
    inside = re.findall(r"\]\(#([^)]+)\)", text)
    assert inside and all(f'<a id="{name}"></a>' in text for name in inside)
