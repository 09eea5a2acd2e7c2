"""The quantizer has the values of its formula and the gradients of the LSQ paper."""

import numpy as np
import pytest
import torch

from ausam_core.errors import AusamError
from tasks.qat.fake_quantize import Recipe, fake_quantize, gradient_scale
from tasks.qat.grid import Grid
from tasks.qat.steps import to_codes

GRIDS = [Grid(bits, signed) for bits in (2, 3, 4, 8) for signed in (True, False)]


def one(values, step, grid, **settings):
    return fake_quantize([values], [step], Recipe([grid], [settings.pop("g", 1.0)], **settings))[0]


def leaves(*tensors):
    return [t.clone().requires_grad_() for t in tensors]


def gaussian(grid, shape=(6, 4, 3, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return values if grid.signed else values.abs()


def closed_form(w, s, g, grid, ste):
    """LSQ's gradients, written down weight by weight in fp64."""
    of_w, of_s = np.zeros_like(w), np.zeros(len(s))
    for c in range(len(w)):
        for i in np.ndindex(w.shape[1:]):
            v = w[(c, *i)] / s[c]
            rounded = np.rint(v)
            compared, low, high = v, grid.low, grid.high
            if ste == "round":
                compared, low, high = rounded, grid.low - 0.5, grid.high + 0.5
            inside = low < compared < high
            of_w[(c, *i)] = g[(c, *i)] if inside else 0.0
            change = rounded - v if inside else (grid.low if compared <= low else grid.high)
            of_s[c] += g[(c, *i)] * change
    return of_w, of_s


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("per_channel", [True, False])
def test_values_are_those_of_clip_and_rint(grid, per_channel):
    values = gaussian(grid)
    step = torch.linspace(0.1, 1.2, 6) if per_channel else torch.tensor(0.3)
    s = step.numpy()[:, None, None, None] if per_channel else step.numpy()
    expected = np.rint(np.clip(values.numpy() / s, grid.low, grid.high)) * s
    assert np.array_equal(one(values, step, grid).numpy(), expected)
    codes = to_codes(values, step, grid)
    assert codes.min() >= grid.low and codes.max() <= grid.high
    assert torch.equal(codes, codes.round()) and len(codes.unique()) > 1


def test_ties_go_to_the_even_code():
    halves = torch.tensor([0.5, 1.5, 2.5, 3.5, -0.5, -1.5])
    assert to_codes(halves, torch.tensor(1.0), Grid(4, True)).tolist() == [0, 2, 2, 4, 0, -2]


@pytest.mark.parametrize("ste", ["clip", "round"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_gradients_are_the_closed_form_of_the_paper(grid, ste):
    # the largest code stands for 0.3 to 1.2: some values are outside whatever the bits
    values, step = leaves(gaussian(grid), torch.linspace(0.3, 1.2, 6) / grid.high)
    upstream = gaussian(Grid(2, True), seed=1)
    one(values, step, grid, ste=ste, g=0.25).backward(upstream)
    arrays = [t.detach().double().numpy() for t in (values, step, upstream)]
    of_values, of_step = closed_form(*arrays, grid, ste)
    assert 0 < np.count_nonzero(of_values == 0) < of_values.size
    np.testing.assert_allclose(values.grad, of_values, rtol=1e-6)
    np.testing.assert_allclose(step.grad, 0.25 * of_step, rtol=2e-4, atol=1e-4)


def test_at_two_bits_the_two_masks_disagree_in_the_sign_of_every_third_step():
    """Regression: a recipe that says LSQ and masks after rounding trains other steps."""
    draws = (500, 64, 3, 3)
    grid, found = Grid(2, True), {}
    for ste in ("clip", "round"):
        values, step = leaves(gaussian(grid, draws, seed=11), torch.full((500,), 1.04))
        one(values, step, grid, ste=ste).backward(gaussian(grid, draws, seed=12))
        found[ste] = step.grad, (values.grad == 0).float().mean().item()
    disagree = (found["clip"][0] * found["round"][0] < 0).float().mean().item()
    assert disagree == pytest.approx(0.30, abs=0.06)
    assert found["clip"][1] - found["round"][1] == pytest.approx(0.103, abs=0.01)


@pytest.mark.parametrize("ste", ["clip", "round"])
def test_the_gradient_of_the_step_is_the_derivative_away_from_jumps(ste):
    """Where no code changes, and no value is inside, x̂ is linear in s: finite differences
    agree."""
    grid = Grid(2, True)
    values = torch.tensor([-3.0, -2.7, 1.8, 2.2], dtype=torch.float64).float()
    (step,) = leaves(torch.tensor(1.0))
    upstream = torch.tensor([0.3, -1.0, 2.0, 0.7])
    one(values, step, grid, ste=ste).backward(upstream)
    moved = [
        float((one(values, torch.tensor(1 + h), grid) * upstream).sum()) for h in (-0.05, 0.05)
    ]
    assert float(step.grad) == pytest.approx((moved[1] - moved[0]) / 0.1, rel=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_round_equals_the_learnable_operator_of_torch(bits, per_channel):
    name = f"_fake_quantize_learnable_per_{'channel' if per_channel else 'tensor'}_affine"
    theirs = getattr(torch, name, None)
    if theirs is None:
        pytest.skip(f"this torch has no {name}")
    grid = Grid(bits, True)
    shape, upstream = (6, 16, 3, 3), gaussian(grid, (6, 16, 3, 3), seed=3)
    first = torch.linspace(0.3, 1.3, 6) if per_channel else torch.tensor([0.7])
    x, s = leaves(gaussian(grid, shape), first)
    zero = torch.zeros(len(first))
    axis = (0,) if per_channel else ()
    expected = theirs(x, s, zero, *axis, grid.low, grid.high, 0.5)
    expected.backward(upstream)
    y, t = leaves(gaussian(grid, shape), first if per_channel else first[0])
    ours = one(y, t, grid, ste="round", g=0.5)
    ours.backward(upstream)
    # theirs multiplies by 1/s: a tie may fall to the other side once in ten million values
    torch.testing.assert_close(ours, expected)
    assert torch.equal(x.grad, y.grad)
    torch.testing.assert_close(t.grad, s.grad.view_as(t), rtol=1e-4, atol=1e-4)


def test_brevitas_gives_the_same_outputs_for_the_same_weights_and_scales():
    brevitas_nn = pytest.importorskip("brevitas.nn")
    from brevitas.inject.enum import ScalingImplType
    from brevitas.quant import Int8WeightPerTensorFloat

    layer = brevitas_nn.QuantConv2d(
        4,
        6,
        3,
        weight_quant=Int8WeightPerTensorFloat,
        weight_bit_width=4,
        weight_narrow_range=False,
        weight_scaling_impl_type=ScalingImplType.CONST,
        weight_scaling_init=0.4,
    )
    quantized = layer.quant_weight()
    ours = one(layer.weight.detach(), quantized.scale.detach().view(()), Grid(4, True))
    torch.testing.assert_close(ours, quantized.value.detach(), atol=1e-6, rtol=0)
    assert (
        len(to_codes(layer.weight.detach(), quantized.scale.view(()), Grid(4, True)).unique()) > 3
    )


def test_without_learning_steps_values_get_the_same_gradient_and_steps_none():
    grid = Grid(2, True)
    x, s = leaves(gaussian(grid), torch.full((6,), 0.8))
    upstream = gaussian(grid, seed=4)
    one(x, s, grid).backward(upstream)
    y, t = leaves(gaussian(grid), torch.full((6,), 0.8))
    one(y, t, grid, learn_steps=False).backward(upstream)
    assert torch.equal(x.grad, y.grad) and s.grad.abs().min() > 0 and t.grad is None


def test_a_list_equals_its_members_and_keeps_their_memory_format():
    grids = [Grid(2, True), Grid(8, True)]
    values = [gaussian(grids[0]).to(memory_format=torch.channels_last), torch.randn(3, 5)]
    steps = [torch.full((6,), 0.9), torch.full((3,), 0.02)]
    together = fake_quantize(values, steps, Recipe(grids, [1.0, 1.0]))
    for value, step, grid, found in zip(values, steps, grids, together, strict=True):
        assert torch.equal(found, one(value, step, grid))
    assert together[0].is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_stored_but_the_inputs():
    kept = []
    x, s = leaves(gaussian(Grid(4, False), (8, 16)), torch.tensor(0.2))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        one(x, s, Grid(4, False))
    assert {t.data_ptr() for t in kept} == {x.data_ptr(), s.data_ptr()}


def test_codes_do_not_depend_on_the_precision_of_autocast():
    x = gaussian(Grid(4, False), (64, 64)).to(torch.bfloat16)
    step = torch.tensor(0.137)
    found = one(x, step, Grid(4, False))
    assert found.dtype == torch.bfloat16
    assert torch.equal((found.float() / step).round(), to_codes(x.float(), step, Grid(4, False)))


def test_ste_passes_everything_where_no_mask_is_wanted():
    x, s = leaves(gaussian(Grid(2, True)), torch.full((6,), 0.2))
    upstream = gaussian(Grid(2, True), seed=5)
    one(x, s, Grid(2, True), masks=False, learn_steps=False).backward(upstream)
    assert torch.equal(x.grad, upstream) and s.grad is None


def test_a_base_is_quantized_and_the_rest_is_added_unrounded():
    grid = Grid(2, True)
    base, step = gaussian(grid), torch.full((6,), 0.8)
    (moved,) = leaves(base + 0.01)
    found = one(moved, step, grid, bases=[base])
    assert torch.equal(found, one(base, step, grid) + (moved - base))
    found.sum().backward()
    v = base / 0.8
    assert torch.equal(moved.grad, ((grid.low < v) & (v < grid.high)).float())


def test_a_step_that_trained_below_zero_is_held_positive():
    found = one(torch.tensor([1.0, 2.0]), torch.tensor(-0.5), Grid(4, False))
    assert found.isfinite().all() and (found >= 0).all()


@pytest.mark.parametrize("bits", [1, 9, 2.0, "4"])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(AusamError, match="from 2 to 8"):
        Grid(bits, signed=True)


def test_the_gradient_scale_is_that_of_the_paper():
    assert gradient_scale(Grid(4, False), 100) == pytest.approx(1 / (15 * 100) ** 0.5)
