"""How sure a choice is, as the report says it, and that what was chosen is used."""

import re
from functools import reduce
from operator import getitem

import pytest
from _study.choice import how_sure
from _study.record import read_records, write_record
from _study.statistics import by_arm
from _study.study import load_study
from _study.table import mean_of
from mmengine.config import Config

from tests.tools.study_cases import ROOT, STUDY, write_study
from tests.tools.test_study import record_of

RADII = (0.1, 0.2, 0.4)
STUDIES = {path.stem: load_study(path) for path in sorted((ROOT / "studies").glob("*.py"))}
CHOOSING = [name for name, study in STUDIES.items() if study.chooses]


def studied(folder, scores, takes):
    """A study of three radii with these scores, seed by seed."""
    arms = ", ".join(
        f'"rho_{i}": dict(label="ρ = {rho}", method=dict(type="SAM", rho={rho}))'
        for i, rho in enumerate(RADII)
    )
    said = f'arms = {{{arms}}}\nreferences = ["rho_0"]\nchooses = "ρ"\ntakes = "{takes}"\n'
    study = load_study(write_study(folder, STUDY + said))
    for arm, values in scores.items():
        for seed, score in enumerate(values):
            write_record(study, record_of(study, arm, seed, score=score))
    return how_sure(study, read_records(study))


def test_a_choice_in_the_middle_names_the_best_of_the_others_and_the_lead(tmp_path):
    scores = {"rho_0": [50.0, 51.0], "rho_1": [52.0, 53.5], "rho_2": [51.0, 52.0]}
    assert studied(tmp_path, scores, "rho_1") == (
        "**Taken: ρ = 0.2** (2 seeds); +1.25 ± 3.18 over ρ = 0.4, the best of the others."
    )


@pytest.mark.parametrize(("takes", "edge"), [("rho_0", "smallest"), ("rho_2", "largest")])
def test_a_choice_beyond_which_nothing_was_tried_says_so(takes, edge, tmp_path):
    told = studied(tmp_path, {name: [50.0, 51.0] for name in ("rho_0", "rho_1", "rho_2")}, takes)
    assert told.endswith(f"; the {edge} ρ that was tried.")


def test_an_edge_is_one_of_what_was_run_and_not_of_what_is_planned(tmp_path):
    told = studied(tmp_path, {"rho_0": [50.0], "rho_1": [52.0]}, "rho_1")
    assert "(1 seed)" in told and told.endswith("; the largest ρ that was tried.")


def test_a_choice_that_another_is_above_does_not_hide_it(tmp_path):
    told = studied(tmp_path, {"rho_0": [50.0], "rho_1": [49.0], "rho_2": [48.0]}, "rho_1")
    assert "−1.00 over ρ = 0.1, the best of the others" in told


def test_nothing_is_said_before_the_choice_has_a_record(tmp_path):
    assert studied(tmp_path, {"rho_0": [50.0]}, "rho_1") == ""


def test_there_are_choices_and_each_says_what_it_took():
    assert CHOOSING
    assert [name for name in CHOOSING if not STUDIES[name].takes] == []


@pytest.mark.parametrize("name", CHOOSING)
def test_the_choice_is_used_by_the_study_it_was_made_for(name):
    study = STUDIES[name]
    target = STUDIES[re.search(r"`(\w+)`", study.chooses)[1]]
    taken = study.arms[study.takes]
    config = Config.fromfile(str(ROOT / target.config))
    for key, value in taken.options.items():
        used = [arm.options[key] for arm in target.arms.values() if key in arm.options]
        assert value in [reduce(getitem, key.split("."), config), *used]
    if "rho" in taken.method:
        theirs = [arm for arm in target.arms.values() if arm.method["type"] == "SAM"]
        assert theirs and {arm.method["rho"] for arm in theirs} == {taken.method["rho"]}


@pytest.mark.parametrize("name", CHOOSING)
def test_the_choice_has_two_seeds_and_nothing_is_a_tenth_of_a_point_above_it(name):
    study = STUDIES[name]
    arms = by_arm(read_records(study))
    ours = arms[study.takes]
    assert len(ours) >= 2
    best = max(mean_of(runs, "score") for runs in arms.values() if len(runs) >= 2)
    assert best - mean_of(ours, "score") <= 0.1
    assert "**Taken:" in how_sure(study, read_records(study))
