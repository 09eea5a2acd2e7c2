"""The examples in one process: each runs, and does what its first lines say."""

import ast
import pickle
import re
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import SAM, AusamError, Base
from tests.examples.runs import DATA, EXAMPLES, load, run, weights

NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
#: What examples have in common, so that each can be copied alone.
SHARED = {"cifar10", "network"}


def needs(package, extra="examples"):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'ausam[{extra}]')")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_page_and_says_how_it_is_run(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert f"examples/{name}.py" in ast.get_docstring(ast.parse(text))


def test_what_examples_share_is_the_same_word_for_word():
    found = {}
    for name in NAMES:
        text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name in SHARED:
                found.setdefault(node.name, set()).add(ast.get_source_segment(text, node))
    assert {name: len(versions) for name, versions in found.items()} == dict.fromkeys(SHARED, 1)


def test_a_plain_loop_that_was_killed_ends_like_one_that_was_not(tmp_path):
    whole = weights(run("plain_loop", "--epochs", 4))
    flags = ["--epochs", 4, "--checkpoint", tmp_path / "run.pth"]
    half = weights(run("plain_loop", *flags, "--stop-after", 2))
    torch.manual_seed(99)
    assert not torch.equal(half, whole)
    assert torch.equal(weights(run("plain_loop", *flags)), whole)


def test_a_plain_loop_costs_one_epoch_of_the_base_optimizer_after_the_first(capsys):
    run("plain_loop", "--epochs", 3)  # the first takes two: all samples, both passes
    assert "the work of 4.00 epochs" in capsys.readouterr().out


@pytest.fixture(scope="module")
def few_images(tmp_path_factory):
    """A tenth of the sample: half precision is slow on processors that do not have it."""
    folder = tmp_path_factory.mktemp("few") / "cifar-10-batches-py"
    folder.mkdir()
    batch = pickle.loads((DATA / folder.name / "data_batch_1").read_bytes(), encoding="latin1")
    few = {"data": batch["data"][:25], "labels": batch["labels"][:25]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(few))
    return folder.parent


@pytest.fixture(scope="module")
def after_one_epoch(few_images):
    """How far an epoch of five batches takes the weights."""
    torch.manual_seed(0)
    start = weights(load("amp_accumulation").network())

    def moved(*flags):
        flags = ["--epochs", 1, "--batch-size", 5, *flags]
        return weights(run("amp_accumulation", *flags, data=few_images)) - start

    return {
        "bfloat16": moved(),
        "float16": moved("--dtype", "float16"),
        "one update": moved("--accumulate", 5),
    }


def test_half_precision_trains_to_about_the_same_weights(after_one_epoch):
    bfloat16, float16 = after_one_epoch["bfloat16"], after_one_epoch["float16"]
    assert 0 < float16.norm() < torch.inf
    assert (float16 - bfloat16).norm() < 0.3 * float16.norm()


def test_accumulation_makes_one_clipped_update_of_several_batches(after_one_epoch):
    lr, clip = 0.05, 1.0
    assert 0 < after_one_epoch["one update"].norm() <= lr * clip + 1e-6
    assert after_one_epoch["bfloat16"].norm() > lr * clip


@pytest.mark.parametrize("method", ["SAM", "Base"])
def test_info_batch_leaves_out_samples_between_the_first_and_the_last_epochs(method, capsys):
    run("info_batch", "--method", method, "--epochs", 8)
    found = re.findall(r"(\d+) steps, (\d+) samples", capsys.readouterr().out)
    steps, samples = ([int(pair[i]) for pair in found] for i in (0, 1))
    assert samples[0] == samples[-1] == 250
    assert all(125 <= n < 250 for n in samples[1:-1])
    assert max(steps[1:-1]) < steps[0]


def one_step(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    x, y = torch.randn(16, 4), torch.randint(3, (16,))
    method = make(torch.optim.SGD(model.parameters(), lr=0.1), model)
    method.step(lambda: F.cross_entropy(model(x), y, reduction="none"))
    return weights(model)


@pytest.mark.parametrize("alpha, known", [(1.0, SAM), (0.0, Base)])
def test_the_own_method_lies_between_sam_and_the_base_optimizer(alpha, known):
    own = load("own_method").GradientNormPenalty
    end = one_step(lambda optimizer, model: own(optimizer, model, alpha=alpha))
    assert torch.equal(end, one_step(known))
    between = one_step(lambda optimizer, model: own(optimizer, model, alpha=0.5))
    assert not torch.equal(between, end)


def test_the_own_method_runs_with_ausam():
    assert weights(run("own_method", "--epochs", 2)).isfinite().all()


def test_the_own_selection_keeps_the_largest_losses_and_what_it_never_saw():
    selection = load("own_selection").LargestLoss(10, alpha=0.5, by_chance=0.0)
    selection.scores.record(range(8), torch.tensor([5.0, 1, 7, 2, 3, 4, 0, 6]))
    selection.end_epoch()
    kept = selection.select(torch.arange(10), 1, torch.Generator().manual_seed(0))
    assert kept.tolist() == [0, 2, 7, 8, 9]


def test_the_own_selection_remembers_and_refuses_other_settings():
    own = load("own_selection").LargestLoss
    selection = own(4)
    selection.scores.record(range(4), torch.tensor([1.0, 2, 3, 4]))
    selection.end_epoch()
    resumed = own(4)
    resumed.load_state_dict(selection.state_dict())
    assert resumed.scores.of(torch.arange(4)).tolist() == [1, 2, 3, 4]
    with pytest.raises(AusamError, match="by_chance"):
        own(4, by_chance=0.5).load_state_dict(selection.state_dict())


def test_the_own_selection_runs():
    assert weights(run("own_selection", "--epochs", 2)).isfinite().all()


def test_mixup_gets_an_even_number_of_samples(capsys):
    run("mixup", "--batch-size", 54, "--epochs", 2)  # the last batch holds 34; half of it is 17
    kept = re.findall(r"(\d+) samples of the last", capsys.readouterr().out)
    assert kept == ["34", "16"]


def test_accelerate_trains_in_one_process():
    needs("accelerate")
    assert weights(run("accelerate_loop", "--epochs", 2)).isfinite().all()


def test_lightning_resumes_method_and_selection(tmp_path):
    needs("lightning")
    whole = weights(run("lightning_module"))
    flags = ["--checkpoint", tmp_path / "run.ckpt"]
    half = weights(run("lightning_module", *flags, "--stop-after", 1))
    assert not torch.equal(half, whole)
    assert torch.equal(weights(run("lightning_module", *flags)), whole)


@pytest.mark.parametrize(
    "flags",
    [
        ["--model", "test_resnet"],
        ["--model", "test_resnet", "--opt", "lamb"],
        ["--model", "test_vit", "--size", "32"],
    ],
)
def test_timm_models_and_optimizers_train(flags):
    needs("timm")
    assert weights(run("timm_model", *flags, "--epochs", 2)).isfinite().all()


def test_an_mmengine_project_resumes(tmp_path):
    needs("mmengine")
    whole = weights(run("mmengine_project", "--out", tmp_path / "whole"))
    half = weights(run("mmengine_project", "--out", tmp_path / "half", "--epochs", 2))
    end = run("mmengine_project", "--out", tmp_path / "half", "--resume")
    assert not torch.equal(half, whole)
    assert torch.equal(weights(end), whole)


def test_a_network_of_ones_own_becomes_a_file_that_equals_it_to_the_bit(tmp_path):
    needs("onnx", "export")
    needs("onnxruntime", "export")
    from tasks.qat.deploy.engines import Session
    from tasks.qat.deploy.lower import lower
    from tasks.qat.deploy.verify import read_model

    path = tmp_path / "own.onnx"
    quantized = run("quantize_own_network", "--epochs", 1, "--out", path)
    assert [row.weight_bits for row in quantized.table] == [8, 2, 2, 8]
    images, _ = load("quantize_own_network").cifar10(str(DATA), "test_batch").tensors
    (scores,) = Session(read_model(path)[0])(images)
    assert torch.equal(scores, lower(quantized)(images))
