"""tools/study.py: a study file that says what it cannot mean is told so in one sentence."""

import pytest
from _study.study import load_study

from ausam_core.errors import AusamError
from tests.tools.study_cases import STUDY, write_study

LATE_METHOD = "method=sam,\n        start=0.5"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[0, 1]", "5", "seeds of .*tiny.py must be a list .*found 5"),
        ("[0, 1]", '"01"', "seeds of .* must be a list .*found '01'"),
        ("[0, 1]", "[]", "seeds of .* are none"),
        ("[0, 1]", "[0, 1, 0]", "seeds of .* name 0 more than once"),
        ("[0, 1]", "[0, -1]", "seeds of .* whole number of 0 or more, found -1"),
        ("[0, 1]", "[0, 1.5]", "seeds of .* whole number of 0 or more, found 1.5"),
        ("[0, 1]", "[2**32]", r"seeds of .* below 2\*\*32"),
        ("samples = 100", "samples = 0", "samples of .* whole number of 1 or more, found 0"),
        ("samples = 100", "samples = 1e2", "samples of .* whole number of 1 or more, found 100.0"),
        ("4 * samples", '"a"', "budget of .* finite number above 0, found 'a'"),
        ("4 * samples", "0", "budget of .* finite number above 0, found 0"),
        ('"accuracy/top1"', "1", "metric of .* must be a string, found 1"),
        ('"accuracy/top1"', '"a"\nrho = -0.1', "rho of .* finite number above 0, found -0.1"),
        ('dict(label="SGD")', '"SGD"', "arm sgd of .* must be a dict .*found 'SGD'"),
        ("references", "arms = {}\nreferences", "has no arms"),
        ("references", "arms = ['sgd']\nreferences", "arms of .* must be a dict"),
        ('["sgd", "sam"]', '"sgd"', "references of .* list of names .*found 'sgd'"),
        ("start=0.5", 'start="late"', "start of arm late .* found 'late'"),
        ("start=0.5", 'times="2"', "times of arm late .* found '2'"),
        ("start=0.5", 'times=float("inf")', "times of arm late .* found inf"),
        ("start=0.5", 'times=float("nan")', "times of arm late .* found nan"),
        ("start=0.5", "cost=0", "cost of arm late .* found 0"),
        ("start=0.5", "cost=-1", "cost of arm late .* found -1"),
        ("start=0.5", "options=None", "options of arm late .* must be a dict .*found None"),
        ("rho=0.1", "rho=-0.1", "arm sam of .*rho.*-0.1"),
        (LATE_METHOD, "method=dict(sam, start=0.5)", "arm late .*its method has start=0.5"),
        ("alpha=0.5", "alpha=0.5, start=0.5", "arm late .*its selection has start=0.5"),
        (LATE_METHOD, "start=0.5", "GradientNormSelection learns from .*Base makes none"),
    ],
)
def test_a_mistake_is_named(tmp_path, before, after, says):
    text = STUDY.replace(before, after)
    assert text != STUDY
    with pytest.raises(AusamError, match=says) as raised:
        load_study(write_study(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_seeds_may_come_from_a_generator(tmp_path):
    text = STUDY.replace("[0, 1]", "(seed for seed in range(3))")
    assert load_study(write_study(tmp_path, text)).seeds == [0, 1, 2]


def test_patterns_of_parameters_are_left_to_the_model(tmp_path):
    text = STUDY.replace('"SAM", rho', '"SAM", exclude=["step$"], rho')
    assert load_study(write_study(tmp_path, text)).arms["sam"].method["exclude"] == ["step$"]
