"""tools/analyze.py: a quadratic whose eigenvalues are known; real runs of the three tasks."""

import json
import math
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from _analyze.along import SELECTIONS, Scores, measure
from _analyze.chosen import contact_sheet, most_and_least, picture_of, scores_of, times_scored
from _analyze.estimates import measure_estimates, spearman
from _analyze.hessian import hessian_product, largest_eigenvalues
from _analyze.run import by_folder, load_run
from _analyze.sharpness import sharpness
from _analyze.surface import random_direction, surface
from _analyze.view import TrainingView, size_of
from _analyze.weights import moved, perturbed_parameters
from mmengine.registry import DATASETS
from PIL import Image
from torch import nn

from ausam_core.errors import AusamError
from tests.tools.study_cases import CONFIG

EIGENVALUES = [9.0, 4.0, 1.0, 0.5, 0.1, -2.0]


@pytest.fixture
def quadratic():
    """½ wᵀAw with known eigenvalues, w in two pieces, cut into chunks that weigh unevenly."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    matrix = basis @ torch.diag(torch.tensor(EIGENVALUES)) @ basis.T
    w = torch.randn(6, generator=generator)
    parameters = [nn.Parameter(w[:2].clone()), nn.Parameter(w[2:].clone().view(2, 2))]

    def loss():
        flat = torch.cat([p.flatten() for p in parameters])
        return flat @ matrix @ flat / 2

    return SimpleNamespace(loss=loss, parameters=parameters, matrix=matrix, w=w)


@pytest.mark.parametrize("chunks", [[1.0], [0.25, 0.75]])
def test_a_hessian_product_is_that_of_the_matrix(quadratic, chunks):
    product = hessian_product(
        lambda: ((weight, quadratic.loss()) for weight in chunks), quadratic.parameters
    )
    vector = torch.arange(6.0)
    assert torch.allclose(product(vector), quadratic.matrix @ vector, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_the_largest_eigenvalues_of_a_quadratic_are_found(quadratic, count):
    product = hessian_product(lambda: [(1.0, quadratic.loss())], quadratic.parameters)
    found = largest_eigenvalues(product, 6, count, products=6).values
    assert found == pytest.approx(EIGENVALUES[:count], rel=1e-3)


def test_of_a_large_matrix_the_largest_eigenvalue_is_found_with_few_products():
    diagonal = torch.cat([torch.linspace(0, 1, 500), torch.tensor([5.0])])
    products = []

    def product(vector):
        products.append(vector)
        return diagonal * vector

    assert largest_eigenvalues(product, 501).values[0] == pytest.approx(5, rel=1e-2)
    assert len(products) < 30


def test_a_matrix_of_rank_one_ends_at_once():
    found = largest_eigenvalues(lambda v: torch.ones(4) * v.sum(), 4)
    assert found.values == [pytest.approx(4)]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_all_of_several_eigenvalues_are_found_where_they_lie_close_or_are_equal(count):
    """As of a network: a few that stand out, two of them equal, and many in the middle."""
    generator = torch.Generator().manual_seed(0)
    outside = torch.tensor([10.0, 10.0, 9.9, 5.0, 4.95])
    values = torch.cat([outside, torch.randn(300, generator=generator).clamp(-3, 3)])
    basis = torch.linalg.qr(torch.randn(305, 305, generator=generator)).Q
    matrix = basis @ torch.diag(values) @ basis.T
    found, errors = largest_eigenvalues(lambda v: matrix @ v, 305, count)
    assert found == pytest.approx(outside[:count].tolist(), rel=1e-3)
    assert max(errors) < 0.02


def test_the_eigenvalues_of_a_network_are_those_of_its_dense_hessian():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 4, generator=generator)
    labels = torch.randint(0, 3, (40,), generator=generator)
    shapes = [(6, 4), (6,), (3, 6), (3,)]
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]

    def loss(flat):
        w1, b1, w2, b2 = (
            piece.view(shape)
            for piece, shape in zip(flat.split([24, 6, 18, 3]), shapes, strict=True)
        )
        hidden = torch.tanh(nn.functional.linear(inputs, w1, b1))
        return nn.functional.cross_entropy(nn.functional.linear(hidden, w2, b2), labels)

    flat = torch.cat([p.detach().flatten() for p in parameters])
    dense = torch.autograd.functional.hessian(loss, flat).double()
    product = hessian_product(
        lambda: [(1.0, loss(torch.cat([p.flatten() for p in parameters])))], parameters
    )
    found, errors = largest_eigenvalues(product, 51, 6)
    true = torch.linalg.eigvalsh(dense).flip(0)[:6].tolist()
    assert found == pytest.approx(true, rel=2e-3)
    assert all(abs(a - b) <= e + 1e-5 for a, b, e in zip(found, true, errors, strict=True))


def test_a_hessian_that_is_not_finite_has_no_eigenvalues():
    with pytest.raises(AusamError, match="is not finite"):
        largest_eigenvalues(lambda v: v * torch.nan, 4)


class _Square(torch.autograd.Function):
    """As an operator of torch without a second derivative behaves."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return _Last.apply(2 * x * gradient)


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("derivative is not implemented")


def test_a_model_that_cannot_be_differentiated_twice_is_named():
    parameter = nn.Parameter(torch.ones(3))
    product = hessian_product(lambda: [(1.0, _Square.apply(parameter).sum())], [parameter])
    with pytest.raises(AusamError, match="cannot be differentiated twice.*not implemented"):
        product(torch.ones(3))


def test_sharpness_of_a_quadratic_is_known(quadratic):
    before = [parameter.detach().clone() for parameter in quadratic.parameters]
    gradient = quadratic.matrix @ quadratic.w
    direction = gradient / gradient.norm()
    for rho, rise in zip(
        [0.1, 1.0], sharpness(quadratic.loss, quadratic.parameters, [0.1, 1.0]), strict=True
    ):
        bend = direction @ quadratic.matrix @ direction / 2
        assert rise == pytest.approx(float(rho * gradient.norm() + rho**2 * bend), rel=1e-4)
    assert all(map(torch.equal, quadratic.parameters, before))


def test_where_the_gradient_is_nothing_there_is_no_sharpness():
    parameter = nn.Parameter(torch.zeros(3))
    assert sharpness(lambda: parameter.square().sum(), [parameter], [0.1, 0.2]) == [0.0, 0.0]


def test_a_gradient_that_is_no_number_is_not_flat():
    parameter = nn.Parameter(torch.tensor([1.0, torch.nan]))
    assert all(
        map(math.isnan, sharpness(lambda: parameter.square().sum(), [parameter], [0.1, 0.2]))
    )


def test_weights_come_back_to_the_bit_also_when_the_body_raises():
    parameter = nn.Parameter(torch.tensor([0.1, 1e8]))
    before = parameter.detach().clone()
    with pytest.raises(RuntimeError), moved([parameter], torch.tensor([1e8, 0.1])):
        assert not torch.equal(parameter, before)
        raise RuntimeError
    assert torch.equal(parameter, before)


def test_a_direction_is_as_long_as_each_filter_and_leaves_biases_alone():
    layer = nn.Conv2d(3, 4, 3)
    weight, bias = random_direction([layer.weight, layer.bias], seed=0).split([108, 4])
    ours, theirs = weight.view(4, -1).norm(dim=1), layer.weight.detach().flatten(1).norm(dim=1)
    assert torch.allclose(ours, theirs) and not bias.any()


def test_the_middle_of_a_surface_is_the_loss_itself():
    parameter = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    rows = surface(lambda: float(parameter.detach().square().sum()), [parameter], [-0.5, 0.0, 0.5])
    own = float(parameter.detach().square().sum())
    assert rows[1][1] == own and {len(row) for row in rows} == {3}
    assert rows[0][0] != rows[2][2] != own


def test_quantization_steps_are_not_moved():
    model = nn.Module()
    model.weight, model.step = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    model.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    assert perturbed_parameters(model) == [model.weight]


def test_most_and_least_are_taken_in_order_and_of_equals_the_first():
    most, least = most_and_least(torch.tensor([3, 5, 1, 5, 1]), 2)
    assert (most, least) == ([1, 3], [2, 4])


def test_a_contact_sheet_has_a_place_for_each_picture():
    sheet = contact_sheet([Image.new("RGB", (9, 5), "red")] * 5, columns=3, side=10)
    assert sheet.size == (36, 24)
    assert sheet.getpixel((15, 15)) == (255, 0, 0) and sheet.getpixel((30, 20)) == (255, 255, 255)


@pytest.fixture(scope="module")
def trained(tool, tmp_path_factory):
    """Two epochs of AUSAM on the sample of CIFAR-10, a checkpoint each."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.py").write_text(
        CONFIG
        + """
train_cfg = dict(max_epochs=2, val_interval=2)
optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.1))
train_dataloader["batch_sampler"] = dict(
    selection=dict(_delete_=True, type="GradientNormSelection", alpha=0.5, start_epoch=0)
)
default_hooks = dict(checkpoint=dict(interval=1, save_best=None))
"""
    )
    tool("train").main([str(folder / "config.py"), "--work-dir", str(folder / "ausam")])
    return folder / "ausam"


@pytest.fixture
def run(trained):
    return load_run(trained / "epoch_2.pth")


def test_a_run_is_known_from_its_checkpoint_alone(run, trained):
    assert (run.epoch, run.label, run.model.training) == (2, "ausam", False)
    assert by_folder([trained / "epoch_2.pth", trained / "epoch_1.pth"]) == {
        "ausam": [trained / "epoch_1.pth", trained / "epoch_2.pth"]
    }


def test_training_samples_are_seen_without_augmentation_and_with_their_labels(run):
    view = TrainingView(run.cfg, run.model, batch_size=40)
    batches = list(view.batches())
    assert [size_of(batch) for batch in batches] == [40, 40, 20]
    labels = torch.cat([batch["labels"] for batch in batches])
    assert torch.equal(labels, run.model.data_preprocessor.images(training=True)[1])
    assert torch.equal(batches[0]["inputs"], next(view.batches())["inputs"])
    mean, each = view.losses(batches[0])
    assert each.shape == (40,) and float(mean.detach()) == pytest.approx(
        float(each.mean()), rel=1e-5
    )
    part = torch.tensor([3, 7])
    assert torch.allclose(view.losses(batches[0], part)[1], each[part], atol=1e-5)
    assert 0 <= view.score("accuracy/top1") <= 100


def test_samples_are_counted_as_they_were_scored(run):
    counts = times_scored(run)
    assert counts.shape == (100,) and int(counts.sum()) == 100 + 50
    assert set(counts.tolist()) == {1, 2}
    assert scores_of(run).isfinite().all()


def test_a_picture_is_the_image_as_it_is_in_the_file(run):
    dataset = DATASETS.build(run.cfg.train_dataloader.dataset)
    assert picture_of(dataset, run.model, 5).size == (32, 32)


def test_all_samples_selected_are_the_whole_batch(run):
    found = measure(run, Scores(), images=100, batch_size=50, alpha=1.0, rho=0.05, seed=0)
    for name in SELECTIONS:
        assert found.ascent[name] == pytest.approx(1, abs=1e-4)
        assert found.descent[name] == pytest.approx(1, abs=1e-3)
        assert found.losses[name] == pytest.approx(0, abs=1e-4)


def test_at_the_second_checkpoint_ausam_knows_the_mean_and_ausam_1_the_latest(trained):
    scores = Scores()
    for epoch in (1, 2):
        run = load_run(trained / f"epoch_{epoch}.pth")
        found = measure(run, scores, images=100, batch_size=50, alpha=0.5, rho=0.05, seed=0)
        assert found.norm > 0 and all(0 < c < 1 for c in found.ascent.values())
    assert len(scores.seen) == 3  # the first climb by other batches, and two checkpoints
    assert torch.equal(scores.of("AUSAM-1", 0), scores.seen[2][0])
    assert torch.allclose(scores.of("AUSAM", 0), sum(seen[0] for seen in scores.seen) / 3)


def test_a_rank_correlation_looks_at_the_order_alone():
    values = torch.tensor([0.1, 0.5, 0.2, 0.9])
    assert spearman(values, values.exp()) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    assert spearman(values, torch.ones(4)) == 0
    stats = pytest.importorskip("scipy.stats")
    other = torch.tensor([3.0, 1.0, 2.0, 4.0])
    assert spearman(values, other) == pytest.approx(stats.spearmanr(values, other).statistic)


def test_a_small_difference_of_losses_is_the_gradients_part_along_the_batchs(run):
    """First order: d_i = ρ·|∇ℓ_i·g|/‖g‖, which is another order than that of the norms."""
    found = measure_estimates(run, Scores(), images=50, batch_size=50, rho=1e-3).table
    assert found["part along g"]["difference"] > 0.99
    assert found["norm at w"]["difference"] < found["part along g"]["difference"]
    assert set(found["norm at w"]) == {"AUSAM", "AUSAM-1", "loss", "EL2N", "difference"}


@pytest.mark.parametrize(
    "what", ["gradients", "norms", "losses", "estimates", "selection", "scores"]
)
def test_each_word_writes_a_picture_and_its_numbers(tool, trained, tmp_path, what):
    argv = [what, *map(str, sorted(trained.glob("epoch_*.pth"))), "--out", str(tmp_path)]
    tool("analyze").main([*argv, "--images", "50", "--batch-size", "50"])
    numbers = json.loads((tmp_path / f"{what}.json").read_text())
    assert numbers
    with Image.open(tmp_path / f"{what}.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 22)) > 20
    if what == "selection":
        assert len(numbers["most"]) == 24 and (tmp_path / "selection_least.png").is_file()


def test_sharpness_does_not_depend_on_the_chunk(tool, trained, tmp_path):
    found = []
    for chunk in ("25", "100"):
        out = tmp_path / chunk
        argv = ["sharpness", str(trained / "epoch_2.pth"), "--out", str(out), "--images", "100"]
        tool("analyze").main([*argv, "--batch-size", "50", "--chunk", chunk, "--grid", "3"])
        (numbers,) = json.loads((out / "sharpness.json").read_text())["runs"].values()
        assert (out / "sharpness.png").is_file()
        found.append(numbers)
    assert found[0]["images"] == found[1]["images"] == 100
    assert found[0]["eigenvalues"] == pytest.approx(found[1]["eigenvalues"], rel=1e-2)
    assert found[0]["surface"][1] == pytest.approx(found[1]["surface"][1], rel=1e-3)
    assert found[0]["m_sharpness"] == sorted(found[0]["m_sharpness"])


@pytest.mark.slow
@pytest.mark.parametrize("task", ["pose", "qat"])
def test_it_works_on_checkpoints_of_the_other_tasks(tool, tmp_path, task):
    from tests.tools.analyze_cases import train_briefly

    checkpoint = train_briefly(task, tmp_path)
    for what in ("gradients", "selection", "sharpness"):
        argv = [what, str(checkpoint), "--out", str(tmp_path / "out"), "--images", "16"]
        tool("analyze").main([*argv, "--batch-size", "8", "--chunk", "8", "--grid", "3"])
        assert (tmp_path / f"out/{what}.png").is_file()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["gradients", "nowhere.pth"], "there is no checkpoint nowhere.pth"),
        (["gradients", "CHECKPOINT", "--images", "10"], "--images a batch or more"),
        (["gradients", "CHECKPOINT", "--alpha", "0"], "--alpha is a share"),
        (["sharpness", "CHECKPOINT", "--rho", "0"], "--rho must be above 0"),
        (["sharpness", "CHECKPOINT", "--grid", "4"], "--grid is an odd number"),
        (["selection", "BARE"], "holds no configuration"),
        (["selection", "CHECKPOINT", "BARE"], "counts are those of one run, found 2 folders"),
        (["selection", "EARLY"], "has scored no sample in its 2 epochs; give a checkpoint of a"),
        (["scores", "EARLY"], "no sample has a score above 0"),
        (["sharpness", "CHECKPOINT", "BEST"], "are both of epoch 2 of one run; give one of them"),
        (["estimates", "CHECKPOINT", "BEST"], "are both of epoch 2 of one run"),
        (["sharpness", "DIVERGED"], "holds weights that are not finite (net."),
        (["norms", "DIVERGED"], "holds weights that are not finite"),
        (["scores", "CHECKPOINT", "--cfg-options", "modle.net.width=8"], "did you mean model?"),
        (
            ["norms", "CHECKPOINT", "--cfg-options", "train_dataloader.dataset.part=[100,150]"],
            "name different images",
        ),
        (["estimates", "CHECKPOINT", "BARE"], "estimates are those of one run, found 2 folders"),
        (["scores", "UNSCORED"], "holds no scores; give a checkpoint of a run with a Gradient"),
    ],
)
def test_a_mistake_is_one_sentence(tool, trained, tmp_path, fails_with, argv, says):
    state = torch.load(trained / "epoch_2.pth", weights_only=True)
    torch.save({"state_dict": state["state_dict"]}, tmp_path / "bare.pth")
    table = state["ausam"]["selection"]["scores"]
    early = {key: table[key].clone().zero_() for key in ("value", "count")}
    state["ausam"]["selection"]["scores"] = {**table, **early}
    torch.save(state, tmp_path / "early.pth")
    del state["ausam"]
    torch.save(state, tmp_path / "unscored.pth")
    next(iter(state["state_dict"].values())).fill_(torch.nan)
    torch.save(state, tmp_path / "diverged.pth")
    best = trained / "best_epoch_2.pth"
    shutil.copy(trained / "epoch_2.pth", best)
    places = {
        "CHECKPOINT": trained / "epoch_2.pth",
        "BARE": tmp_path / "bare.pth",
        **{name: tmp_path / f"{name.lower()}.pth" for name in ("UNSCORED", "EARLY", "DIVERGED")},
        "BEST": best,
    }
    argv = [places.get(arg, arg) for arg in argv]
    argv = [*argv, "--images", "50", "--batch-size", "50"] if "--images" not in argv else argv
    try:
        assert says in fails_with(tool("analyze").main, *argv, "--out", tmp_path / "out")
    finally:
        best.unlink()


def test_a_picture_says_how_many_samples_there_were(tool, trained, tmp_path, monkeypatch):
    said = []
    figures = sys.modules["_analyze.figures"]
    panels = figures.panels
    monkeypatch.setattr(
        figures,
        "panels",
        lambda n, title, below, *a, **k: said.append(below) or panels(n, title, below, *a, **k),
    )
    argv = ["--out", str(tmp_path), "--batch-size", "40", "--chunk", "40", "--grid", "3"]
    for what in ("norms", "sharpness"):  # --images is 1024, and there are 100
        tool("analyze").main([what, str(trained / "epoch_2.pth"), *argv])
    assert "ausam; 100 training samples, batches of 40" in said[0]
    assert said[1].startswith("100 training samples; m-sharpness: 100 training samples in batches")
    (row,) = json.loads((tmp_path / "norms.json").read_text())["ausam"]
    assert row["images"] == 100


def test_a_checkpoint_before_the_first_scores_is_left_out_and_named(
    tool, trained, tmp_path, capsys
):
    state = torch.load(trained / "epoch_1.pth", weights_only=True)
    for key in ("value", "count"):
        state["ausam"]["selection"]["scores"][key].zero_()
    (tmp_path / "run").mkdir()
    torch.save(state, tmp_path / "run/epoch_1.pth")
    shutil.copy(trained / "epoch_2.pth", tmp_path / "run")
    paths = [str(tmp_path / f"run/epoch_{n}.pth") for n in (1, 2)]
    tool("analyze").main(["scores", *paths, "--out", str(tmp_path)])
    assert "epoch_1.pth: epoch 1 knows no score above 0; left out" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "scores.json").read_text())["scores"]) == ["run, epoch 2"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tool, trained, fails_with):
    argv = ["scores", trained / "epoch_2.pth", "--out", trained / "epoch_1.pth" / "below"]
    assert "choose another with --out" in fails_with(tool("analyze").main, *argv)


def test_two_folders_of_one_name_are_refused(tmp_path):
    with pytest.raises(AusamError, match="two folders .* are called run"):
        by_folder([tmp_path / "a/run/epoch_1.pth", tmp_path / "b/run/epoch_1.pth"])
