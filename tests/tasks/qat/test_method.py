"""SAM on a quantized network: what ε touches, what each pass computes, what comes back."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import GSAM, SAM, AusamError, Base, LookSAM, in_second_pass
from tasks.qat import fake_quantize as fq
from tasks.qat.method import adapt_to_method
from tasks.qat.steps import STEPS
from tests.tasks.qat.nets import CLASSES, NETS, images, quantized

RHO = 0.05
INPUTS = images(8)
LABELS = torch.arange(8) % CLASSES


def sgd(network, lr=0.05):
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)


def losses(network):
    return F.cross_entropy(network(INPUTS), LABELS, reduction="none")


def sam(network, perturb="latent", kind=SAM, **settings):
    method = kind(sgd(network), network, rho=RHO, exclude=[STEPS], **settings)
    adapt_to_method(network, method, perturb)
    return method


def trained(kind="residual"):
    network = quantized(kind)
    return network.train()


@pytest.mark.parametrize("kind", NETS)
def test_epsilon_moves_weights_biases_and_bn_affine_and_nothing_else(kind):
    network, moved = trained(kind), {}
    method = sam(network)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}

    def closure():
        if in_second_pass():
            moved.update({n: p.detach() - before[n] for n, p in network.named_parameters()})
        return losses(network)

    method.step(closure)
    touched = {n for n, change in moved.items() if change.any()}
    steps = {n for n in before if n.endswith("step")}
    # BatchNorm takes away what the bias before it adds: its gradient is 0 up to rounding
    touched.add("body.6.bias" if kind == "depthwise" else "body.fc.bias")
    assert touched == before.keys() - steps and steps
    size = torch.stack([change.norm() for change in moved.values()]).norm()
    assert float(size) == pytest.approx(RHO, rel=1e-4)


@pytest.mark.parametrize("perturb", ["latent", "quantized"])
def test_latent_weights_come_back_to_the_bit(perturb):
    network = trained()
    method = sam(network, perturb)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    method.accumulate(lambda: losses(network))
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())


@pytest.mark.parametrize("learns", [1, 2])
def test_gradients_of_steps_are_computed_in_one_pass_and_the_update_is_the_same(
    learns, monkeypatch
):
    original, results = fq._sum_like, []
    for skips in (True, False):
        network, computed = trained(), {1: 0, 2: 0}
        method = sam(network, excluded_pass=learns)
        network.behaviour.two_passes = skips

        def counting(*args, computed=computed):
            computed[1 + in_second_pass()] += 1
            return original(*args)

        monkeypatch.setattr(fq, "_sum_like", counting)
        for _ in range(3):
            method.step(lambda network=network: losses(network))
        steps = len(network.steps())
        assert computed[learns] == 3 * steps
        assert computed[3 - learns] == (0 if skips else 3 * steps)
        results.append({n: p.detach() for n, p in network.named_parameters()})
    assert all(torch.equal(results[0][n], results[1][n]) for n in results[0])


def test_steps_may_descend_by_the_gradient_at_w():
    network, plain = trained(), trained()
    sam(network, excluded_pass=1).accumulate(lambda: losses(network))
    Base(sgd(plain), plain).accumulate(lambda: losses(plain))
    expected = dict(plain.named_parameters())
    for name, parameter in network.named_parameters():
        same = torch.equal(parameter.grad, expected[name].grad)
        assert same == name.endswith("step"), name


@pytest.mark.parametrize("kind", [Base, LookSAM, GSAM])
def test_methods_that_descend_by_the_first_pass_learn_steps_in_it(kind):
    network = trained()
    settings = {} if kind is Base else dict(rho=RHO, exclude=[STEPS])
    method = kind(sgd(network), network, **settings)
    adapt_to_method(network, method)
    before = {n: s.detach().clone() for n, s in network.steps().items()}
    for _ in range(2):
        method.step(lambda: losses(network))
    assert not network.behaviour.two_passes
    assert all((s != before[n]).any() for n, s in network.steps().items())


def test_batch_norm_counts_a_step_once():
    network = trained()
    method = sam(network)
    counters = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [int(m.num_batches_tracked) for m in counters]
    method.step(lambda: losses(network))
    assert [int(m.num_batches_tracked) - b for m, b in zip(counters, before, strict=True)] == [
        1
    ] * len(counters)


def test_the_weights_of_a_pass_are_quantized_once_and_dropped():
    network, calls = trained(), []
    method = sam(network)
    original = fq._FakeQuantize.forward

    def counting(ctx, recipe, *tensors):
        calls.append(len(recipe.grids))
        return original(ctx, recipe, *tensors)

    fq._FakeQuantize.forward = staticmethod(counting)
    try:
        method.step(lambda: losses(network))
    finally:
        fq._FakeQuantize.forward = staticmethod(original)
    layers = len(network.table)
    assert calls.count(layers) == 2 and len(calls) == 2 + 2 * len(network.activations())
    assert all(layer.quantized is None for _, layer in network.layers())


def test_the_second_pass_sees_the_codes_of_the_moved_weights():
    """No value quantized in the ascent pass is used again."""
    network, seen = trained(), []
    method = sam(network)
    layer = network.body.get_submodule("layer1.conv1")
    layer.register_forward_hook(
        lambda m, a, o: seen.append((m.quantized, m.codes() * m.step.view(-1, 1, 1, 1)))
    )
    method.perturbation.rho = 5.0
    method.step(lambda: losses(network))
    (first, codes), (second, moved_codes) = seen
    assert torch.equal(first, codes) and torch.equal(second, moved_codes)
    assert not torch.equal(codes, moved_codes)


def test_quantized_perturbation_adds_epsilon_to_the_quantized_weights():
    network, used = trained(), {}
    method = sam(network, "quantized")
    for name, layer in network.layers():
        layer.register_forward_hook(
            lambda m, a, o, n=name: used.setdefault(n, []).append(m.quantized.detach().clone())
        )
    before = {n: layer.weight.detach().clone() for n, layer in network.layers()}
    moved = {}

    def closure():
        if in_second_pass():
            moved.update({n: ly.weight.detach() - before[n] for n, ly in network.layers()})
        return losses(network)

    method.step(closure)
    for name, (first, second) in used.items():
        assert torch.equal(second, first + moved[name]) and moved[name].any()


def test_quantized_perturbation_climbs_by_the_gradient_at_the_quantized_weights():
    """Also weights outside the grid move, whose latent gradient is 0."""
    network = trained()
    twin = copy.deepcopy(network)
    adapt_to_method(twin, Base(sgd(twin), twin))
    with twin.quantized_weights():
        for _, layer in twin.layers():
            layer.quantized.retain_grad()
        held = {n: layer.quantized for n, layer in twin.layers()}
        F.cross_entropy(twin.body(INPUTS), LABELS).backward()
    gradients = {n: w.grad for n, w in held.items()}

    method, moved = sam(network, "quantized"), {}
    before = {n: layer.weight.detach().clone() for n, layer in network.layers()}

    def closure():
        if in_second_pass():
            moved.update({n: ly.weight.detach() - before[n] for n, ly in network.layers()})
        return losses(network)

    method.step(closure)
    name = "layer1.conv1"
    cosine = F.cosine_similarity(moved[name].flatten(), gradients[name].flatten(), 0)
    assert float(cosine) > 0.9999
    outside = network.body.get_submodule(name).codes() != (
        before[name] / network.body.get_submodule(name).step.view(-1, 1, 1, 1)
    ).round().clamp(-8, 8)
    assert outside.any() and (moved[name][outside] != 0).float().mean() > 0.9


@pytest.mark.parametrize("perturb", ["latent", "quantized"])
def test_the_descent_gradient_of_a_weight_outside_the_grid_is_zero(perturb):
    network = trained()
    method = sam(network, perturb)
    layer = network.body.get_submodule("layer1.conv1")
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = 100 * layer.step[0]
    method.accumulate(lambda: losses(network))
    assert layer.weight.grad[0, 0, 0, 0] == 0 and layer.weight.grad.any()


@pytest.mark.parametrize("kind", [GSAM, LookSAM])
def test_quantized_perturbation_is_refused_where_the_first_gradient_is_descended_by(kind):
    with pytest.raises(AusamError, match=f"{kind.__name__} also descends by it"):
        sam(trained(), "quantized", kind)


def test_a_method_that_would_perturb_steps_is_refused():
    network = trained()
    with pytest.raises(AusamError, match=r"would perturb the quantization step body\.\S+step"):
        adapt_to_method(network, SAM(sgd(network), network))
