"""Every method through the same cases: what a step promises holds for all of them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import (
    AESAM,
    ESAM,
    GSAM,
    KSAM,
    MESA,
    MSAM,
    SAF,
    SAM,
    VSAM,
    AusamError,
    Base,
    Batch,
    ForwardRecord,
    LookSAM,
    in_second_pass,
)

METHODS = {
    "Base": (Base, {}),
    "SAM": (SAM, dict(rho=0.1)),
    "ASAM": (SAM, dict(rho=0.5, adaptive=True)),
    "GSAM": (GSAM, dict(rho=0.1)),
    "GSAM_adaptive": (GSAM, dict(rho=0.5, adaptive=True, rho_min=0.1)),
    "LookSAM": (LookSAM, dict(rho=0.1, k=3)),
    "ESAM": (ESAM, dict(rho=0.1)),
    "KSAM": (KSAM, dict(rho=0.1, gamma=0.75)),
    "AESAM": (AESAM, dict(rho=0.1, total_steps=12)),
    "VSAM": (VSAM, dict(rho=0.1, warmup_steps=2, window=4)),
    "SAF": (SAF, dict(start_epoch=0, lag=1)),
    "MESA": (MESA, dict(decay=0.5)),
    "MSAM": (MSAM, dict(rho=0.3)),
    "SAM_ascent": (SAM, dict(rho=0.1, ascent=0.5)),
    "SAM_late": (SAM, dict(rho=0.1, start=0.5)),
}
SIZE, N = 16, 48


def network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 12, bias=False),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(12, 3),
    )


X = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
Y = torch.randint(3, (N,), generator=torch.Generator().manual_seed(2))


def batches(epochs=4, first=0):
    for epoch in range(first, first + epochs):
        for i in range(0, N, SIZE):
            yield Batch(list(range(i, i + SIZE)), SIZE, epoch)


def closure_of(model, batch, dtype=None, factor=1.0):
    x, y = X[batch.indices], Y[batch.indices]

    def closure(subset=slice(None)):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            outputs = model(x[subset])
        losses = F.cross_entropy(outputs.float(), y[subset], reduction="none") * factor
        return ForwardRecord(losses.mean(), losses, outputs)

    return closure


def start(name, optimizer=None, dropout=0.0, **kwargs):
    cls, settings = METHODS[name]
    model = network(dropout)
    optimizer = (optimizer or sgd)(model.parameters())
    method = cls(optimizer, model, **settings, **kwargs)
    method.begin_run(4, 4 * N // SIZE)
    return model, method


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3, fused=True)


def run(model, method, planned, **settings):
    return [method.step(closure_of(model, b, **settings), batch=b) for b in planned]


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[k], b[k]) for k in a)


IDENTITIES = {
    "GSAM with alpha 0": (GSAM, dict(alpha=0.0)),
    "LookSAM with k 1": (LookSAM, dict(k=1)),
    "ESAM with beta and gamma 1": (ESAM, dict(beta=1.0, gamma=1.0)),
    "K-SAM with gamma 1": (KSAM, dict(gamma=1.0)),
    "AE-SAM that finds all sharp": (
        AESAM,
        dict(total_steps=12, lambda_1=-1e12, lambda_2=-1e12),
    ),
    "vSAM that never leaves its warm-up": (VSAM, dict(warmup_steps=100)),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_is_sam_to_the_bit(case):
    cls, settings = IDENTITIES[case]
    a, b = network(), network()
    run(a, cls(sgd(a.parameters()), a, rho=0.1, **settings), batches())
    run(b, SAM(sgd(b.parameters()), b, rho=0.1), batches())
    assert equal(a, b)


@pytest.mark.parametrize("cls", [SAF, MESA])
def test_without_their_term_saf_and_mesa_are_the_base_optimizer(cls):
    a, b = network(), network()
    run(a, cls(sgd(a.parameters()), a, lam=0.0), batches())
    run(b, Base(sgd(b.parameters()), b), batches())
    assert equal(a, b)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "Base"])
def test_differs_from_the_base_optimizer_and_from_sam(name):
    """So that none of the identities holds because a method does nothing."""
    model, method = start(name)
    run(model, method, batches())
    others = ["Base"] if name == "SAM" else ["Base", "SAM"]
    for other in others:
        reference, base = start(other)
        run(reference, base, batches())
        assert not equal(model, reference), other


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_goes_down(name):
    model, method = start(name)
    results = run(model, method, batches(epochs=30))
    assert results[-1].loss < 0.8 * results[0].loss
    assert all(r.finite for r in results)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(name, scaled, tmp_path):
    def fresh():
        scaler = torch.amp.GradScaler("cpu", growth_interval=2) if scaled else None
        return start(name, dropout=0.3, scaler=scaler)

    model, method = fresh()
    run(model, method, batches(2))
    method.end_epoch()
    torch.save({"model": model.state_dict(), "method": method.state_dict()}, tmp_path / "c.pt")
    run(model, method, batches(2, first=2))
    saved = torch.load(tmp_path / "c.pt", weights_only=True)
    resumed, again = fresh()
    resumed.load_state_dict(saved["model"])
    again.load_state_dict(saved["method"])
    run(resumed, again, batches(2, first=2))
    assert equal(model, resumed)


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_scaler_changes_nothing_but_rounding(name):
    plain, method = start(name)
    scaled, other = start(name, scaler=torch.amp.GradScaler("cpu"))
    run(plain, method, batches(2))
    run(scaled, other, batches(2))
    for a, b in zip(plain.state_dict().values(), scaled.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_bf16_autocast_stays_near_fp32(name):
    full, method = start(name)
    half, other = start(name)
    run(full, method, batches(1))
    results = run(half, other, batches(1), dtype=torch.bfloat16)
    assert all(r.finite for r in results)
    for a, b in zip(full.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_accumulation_adds_to_what_is_there(name):
    """A gradient that is in place already comes out as itself plus this batch's."""
    batch = next(batches())
    alone, method = start(name)
    method.accumulate(closure_of(alone, batch), batch=batch)
    both, other = start(name)
    for p in both.parameters():
        p.grad = torch.full_like(p, 0.25)
    other.accumulate(closure_of(both, batch), batch=batch)
    for a, b in zip(alone.parameters(), both.parameters(), strict=True):
        torch.testing.assert_close(a.grad + 0.25, b.grad)


@pytest.mark.parametrize("name", METHODS)
def test_a_bad_batch_is_skipped_and_not_remembered(name):
    model, method = start(name)
    run(model, method, batches(2))
    before = copy.deepcopy(list(model.parameters()))
    bad = Batch(list(range(SIZE)), SIZE, 2)
    result = method.step(closure_of(model, bad, factor=float("inf")), batch=bad)
    assert not result.finite
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))
    assert all(r.finite for r in run(model, method, batches(3, first=3)))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("failing_pass", [1, 2])
def test_weights_and_flags_survive_a_pass_that_raises(name, failing_pass):
    model, method = start(name)
    run(model, method, batches(2))
    before = copy.deepcopy(model.state_dict())
    batch = Batch(list(range(SIZE)), SIZE, 2)
    whole = closure_of(model, batch)

    def closure(subset=slice(None)):
        if in_second_pass() == (failing_pass == 2):
            raise RuntimeError("out of memory")
        return whole(subset)

    try:
        method.step(closure, batch=batch)
    except RuntimeError:
        for key, value in model.named_parameters():
            assert torch.equal(value, before[key])
    else:
        assert failing_pass == 2, "a method that needs no pass 2 in this step"
    assert all(p.requires_grad for p in model.parameters()) and model[1].track_running_stats
    assert model.training and not in_second_pass()
    assert all(r.finite for r in run(model, method, batches(1, first=3)))


@pytest.mark.parametrize("name", METHODS)
def test_running_statistics_move_once_a_step(name):
    model, method = start(name)
    run(model, method, batches(2))
    assert model[1].num_batches_tracked == 2 * N // SIZE


@pytest.mark.parametrize("name", METHODS)
def test_the_result_tells_whether_the_method_perturbs(name):
    model, method = start(name)
    result = run(model, method, batches())[0]
    assert result.perturbs == (name not in ("Base", "SAF", "MESA", "MSAM"))
    assert (result.difference is not None) == (result.perturbs and name != "SAM_late")
    assert result.before.shape == (SIZE,)


def test_gsam_removes_from_g_what_lies_along_g_p():
    """Against the decomposition written out over one long vector."""
    batch = next(batches())
    model, sam = start("SAM")
    sam.accumulate(closure_of(model, batch), batch=batch)
    g_p = torch.cat([p.grad.flatten() for p in model.parameters()])
    plain, base = start("Base")
    base.accumulate(closure_of(plain, batch), batch=batch)
    g = torch.cat([p.grad.flatten() for p in plain.parameters()])
    orthogonal = g - (g @ g_p) / (g_p @ g_p) * g_p
    model, gsam = start("GSAM")
    gsam.accumulate(closure_of(model, batch), batch=batch)
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(found, g_p - 0.4 * orthogonal, rtol=1e-4, atol=1e-6)


def test_the_radius_of_gsam_follows_the_learning_rate():
    model = network()
    optimizer = sgd(model.parameters())
    method = GSAM(optimizer, model, rho=0.2, rho_min=0.1)
    optimizer.param_groups[0]["lr"] = 0.05
    run(model, method, list(batches())[:1])
    assert method.perturbation.rho == pytest.approx(0.15)


def test_looksam_reuses_the_part_of_g_p_that_is_orthogonal_to_g():
    first, second = list(batches())[:2]
    model, sam = start("SAM")
    sam.accumulate(closure_of(model, first), batch=first)
    g_p = torch.cat([p.grad.flatten() for p in model.parameters()])
    model, look = start("LookSAM", optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    plain, base = start("Base")
    base.accumulate(closure_of(plain, first), batch=first)
    g = torch.cat([p.grad.flatten() for p in plain.parameters()])
    g_v = g_p - (g_p @ g) / (g @ g) * g
    look.step(closure_of(model, first), batch=first)
    look.accumulate(closure_of(model, second), batch=second)
    plain, base = start("Base")
    base.accumulate(closure_of(plain, second), batch=second)
    now = torch.cat([p.grad.flatten() for p in plain.parameters()])
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    expected = now + 0.7 * now.norm() / g_v.norm() * g_v
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def passes_of(name, planned, **settings):
    """Number of forward passes in each step."""
    cls, defaults = METHODS[name]
    model, counts = network(), []
    method = cls(sgd(model.parameters()), model, **{**defaults, **settings})
    model.register_forward_hook(lambda *_: counts.__setitem__(-1, counts[-1] + 1))
    for batch in planned:
        counts.append(0)
        method.step(closure_of(model, batch), batch=batch)
    return counts


@pytest.mark.parametrize("k, grows", [(1, False), (5, True)])
def test_reuse_feeds_itself_at_rates_that_sam_bears(k, grows):
    """On a quadratic, whose largest curvatures g_v lies along, made as long as g for k − 1 steps.

    With momentum 0.9, SGD bears a rate of 3.8 over the largest curvature, which is 1 here.
    """
    curvatures = torch.logspace(-2, 0, 50)
    model = nn.Linear(50, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    method = LookSAM(optimizer, model, rho=0.1, k=k)

    def loss():
        return 0.5 * (curvatures * model.weight.square()).sum(1)

    before = loss().item()
    for _ in range(600):
        method.step(loss)
    assert (loss().item() > before) == grows


def test_looksam_runs_two_passes_every_kth_step_only():
    assert passes_of("LookSAM", batches(2)) == [2, 1, 1, 2, 1, 1]


def test_ae_sam_that_finds_nothing_sharp_runs_one_pass():
    counts = passes_of("AESAM", batches(), lambda_1=1e12, lambda_2=1e12)
    assert counts[1:] == [1] * (len(counts) - 1)


def test_ae_sam_decides_by_the_running_mean_and_deviation_of_the_squared_norm():
    model = network()
    method = AESAM(sgd(model.parameters()), model, total_steps=4, lambda_1=-1, lambda_2=1)
    assert method.is_sharp(1.0)
    assert method.is_sharp(4.0)  # mean 1.3, deviation .85, c .5
    assert method.mean == pytest.approx(1.3) and method.variance == pytest.approx(0.729)
    assert not method.is_sharp(0.5)
    assert not method.is_sharp(float("nan")) and method.mean == pytest.approx(1.22)


def test_vsam_keeps_its_quota():
    counts = passes_of("VSAM", batches(6), window=6, warmup_steps=0)
    assert all(sum(c == 2 for c in counts[i : i + 6]) == 1 for i in (0, 6))


def test_esam_keeps_exactly_its_share_of_those_whose_loss_rose_most():
    model, batch, seen = network(), next(batches()), []
    method = ESAM(sgd(model.parameters()), model, rho=0.1, beta=1.0, gamma=0.25)
    whole = closure_of(model, batch)

    def closure(subset=slice(None)):
        seen.append(subset)
        return whole(subset)

    result = method.step(closure, batch=batch)
    rise = result.after - result.before
    assert len(seen) == 3
    assert sorted(seen[2].tolist()) == sorted(rise.topk(4).indices.tolist())


def test_esam_perturbs_only_the_tensors_it_drew():
    model, batch = network(), next(batches())
    method = ESAM(sgd(model.parameters()), model, rho=0.1, beta=0.5, gamma=1.0, seed=3)
    before, moved = copy.deepcopy(dict(model.named_parameters())), {}
    whole = closure_of(model, batch)

    def closure(subset=slice(None)):
        if in_second_pass():
            for name, p in model.named_parameters():
                moved[name] = not torch.equal(p, before[name])
        return whole(subset)

    method.step(closure, batch=batch)
    assert any(moved.values()) and not all(moved.values())
    delta = 0.1 / 0.5
    assert method.perturbation.rho == pytest.approx(delta)


def test_ksam_trains_those_with_the_largest_loss_and_no_others():
    model, batch, seen = network(), next(batches()), []
    method = KSAM(sgd(model.parameters()), model, rho=0.1, gamma=0.25)
    whole = closure_of(model, batch)

    def closure(subset=slice(None)):
        seen.append(subset)
        return whole(subset)

    hardest = whole().per_sample.topk(4).indices.sort().values
    result = method.step(closure, batch=batch)
    first, climbing, descending = seen
    assert first == slice(None)
    assert torch.equal(climbing, hardest) and torch.equal(descending, hardest)
    assert torch.equal(result.after.isfinite().nonzero()[:, 0], hardest)
    assert (method.cost.forward, method.cost.backward) == (SIZE + 8, 8)


def test_ksam_on_chosen_samples_is_sam_on_them():
    """Without BatchNorm, whose statistics would be those of the whole batch."""
    batch, networks = next(batches()), [nn.Sequential(nn.Linear(6, 3)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    a, b = networks
    hardest = closure_of(a, batch)().per_sample.topk(4).indices.sort().values
    KSAM(sgd(a.parameters()), a, rho=0.1, gamma=0.25).step(closure_of(a, batch), batch=batch)
    part = closure_of(b, batch)
    SAM(sgd(b.parameters()), b, rho=0.1).step(lambda: part(hardest))
    assert equal(a, b)


def test_saf_looks_up_to_what_the_sample_was_lag_epochs_ago():
    model, method = start("SAF")
    planned = list(batches(3))
    run(model, method, planned[:3])
    stored = method._tables[0]
    assert not stored[:N].isnan().any() and len(stored) >= N
    assert set(method._tables) == {0}
    run(model, method, planned[3:])
    assert set(method._tables) == {1, 2}


@pytest.mark.parametrize("name", ["SAF", "MESA"])
def test_what_needs_class_scores_says_so(name):
    model, method = start(name)
    batch = next(batches())
    with pytest.raises(AusamError, match=f"{name} needs the class scores"):
        method.step(lambda: model(X[:4]).square().sum(1), batch=batch)


def test_saf_without_a_batch_says_so():
    model, method = start("SAF")
    with pytest.raises(AusamError, match="batch=batch"):
        method.step(closure_of(model, next(batches())))


@pytest.mark.parametrize("name", ["ESAM", "KSAM"])
def test_what_chooses_in_the_batch_refuses_a_reduced_loss_and_a_closure_without_positions(name):
    model, method = start(name)
    with pytest.raises(AusamError, match="already reduced to a scalar"):
        method.step(lambda: model(X[:4]).square().mean())
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(AusamError, match="must take the positions"):
        method.step(lambda: model(X[:4]).square().sum(1))


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (GSAM, dict(rho_min=0.5), r"rho_min must be in \[0, rho\]"),
        (GSAM, dict(perturb="local"), "averaged gradient"),
        (LookSAM, dict(k=0), "from SAM step to SAM step, found 0"),
        (ESAM, dict(beta=0), "shares in"),
        (KSAM, dict(gamma=0), "gamma is a share"),
        (KSAM, dict(ascent=0.5), "use ascent=1"),
        (AESAM, dict(total_steps=0), "updates of the run, found 0"),
        (VSAM, dict(window=1), "window must be 2 or more"),
        (SAF, dict(lag=0), "lag must be 1 or more"),
        (MESA, dict(decay=1.0), "decay must be in"),
    ],
)
def test_settings_out_of_range_are_refused(cls, settings, message):
    model = network()
    with pytest.raises(AusamError, match=message):
        cls(sgd(model.parameters()), model, **settings)
