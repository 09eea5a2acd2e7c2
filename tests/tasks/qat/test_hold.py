"""Held weights keep every code, whatever trains, damps or freezes them; BatchNorm goes on."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import GSAM, SAM, AusamError, Base, LookSAM, in_second_pass
from tasks.qat import STEPS, Oscillation, Policy, adapt_to_method, dampen, hold_weights
from tasks.qat.convert import convert
from tests.tasks.qat.nets import CLASSES, images, quantized

LABELS = torch.arange(8) % CLASSES
METHODS = {
    "Base": (Base, {}),
    "SAM": (SAM, dict(rho=0.05)),
    "ASAM": (SAM, dict(rho=0.5, adaptive=True)),
    "LookSAM": (LookSAM, dict(rho=0.05, k=3)),
    "GSAM": (GSAM, dict(rho=0.05)),
}
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=5e-2, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.1),
}


def method_of(network, method="SAM", optimizer="SGD"):
    kind, settings = METHODS[method]
    if settings:
        settings = {**settings, "exclude": [STEPS]}
    made = kind(OPTIMIZERS[optimizer](network.parameters()), network, **settings)
    adapt_to_method(network, made)
    return made


def train(network, method, updates=3):
    network.train()
    for i in range(updates):
        x = images(8, size=8, seed=i)
        method.step(lambda x=x: F.cross_entropy(network(x), LABELS, reduction="none"))


def values(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def moved(network, before):
    return {name for name, value in values(network).items() if not torch.equal(value, before[name])}


def meant_to_stand(network):
    return {f"body.{name}.{part}" for name, _ in network.layers() for part in ("weight", "step")}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", METHODS)
def test_weights_and_their_steps_stand_still_to_the_bit_and_all_else_trains(method, optimizer):
    """Also against momentum and weight decay from before."""
    network = quantized()
    trained = method_of(network, method, optimizer)
    train(network, trained, updates=2)
    going_on = hold_weights(network)
    before = values(network)
    train(network, trained, updates=4)
    stands = meant_to_stand(network)
    assert moved(network, before) == before.keys() - stands - {"grids"}
    assert set(going_on) == {name for name, _ in network.named_parameters()} - stands


def test_nothing_that_is_held_is_perturbed_and_epsilon_has_its_whole_length():
    network, found = quantized(), {}
    method = method_of(network)
    hold_weights(network)
    before = values(network)

    def closure():
        if in_second_pass():
            found.update({n: p.detach() - before[n] for n, p in network.named_parameters()})
        return F.cross_entropy(network(images(8, size=8)), LABELS, reduction="none")

    method.accumulate(closure)
    climbed = {name for name, change in found.items() if change.any()}
    norms = {
        f"body.{name}.{part}"
        for name, module in network.body.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for part in ("weight", "bias")
    }
    assert climbed == norms | {"body.fc.bias"}
    assert float(torch.stack([c.norm() for c in found.values()]).norm()) == pytest.approx(0.05)
    assert network.body.fc.weight.grad is None


def test_held_weights_are_neither_damped_nor_frozen():
    network = quantized().train()
    oscillation = Oscillation(network, momentum=0.5, per_layer=None)
    held, free = network.body.get_submodule("layer1.conv1"), network.body.fc
    held.weight.requires_grad_(False)
    for code in (0, 1, 0, 1):
        for layer in (held, free):
            layer.weight.data.flatten()[0] = code * layer.step.flatten()[0]
        oscillation.count()
    before, beside = held.weight.clone(), free.weight.clone()
    dampen(network, 0.25)
    oscillation.freeze(0.1)
    assert torch.equal(held.weight, before) and not torch.equal(free.weight, beside)
    assert int(oscillation.frozen.sum()) == 1


def test_weights_that_are_let_go_train_again():
    network = quantized()
    method = method_of(network)
    train(network, method, updates=1)  # fused SGD wants to meet all parameters in its first update
    hold_weights(network)
    train(network, method, updates=1)
    before = values(network)
    hold_weights(network, hold=False)
    train(network, method, updates=1)
    assert meant_to_stand(network) <= moved(network, before)


def test_a_gradient_from_before_is_not_applied_after():
    network = quantized().train()
    method = method_of(network)
    F.cross_entropy(network(images(8, size=8)), LABELS).backward()
    hold_weights(network)
    before = values(network)
    method.optimizer.step()
    assert not moved(network, before) & meant_to_stand(network)


def test_layers_in_floating_point_are_held_too():
    network = quantized(policy=Policy(first_last="fp"))
    assert not {"body.conv1.weight", "body.fc.weight"} & set(hold_weights(network))


def test_a_network_with_nothing_left_to_train_is_refused():
    bare = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with pytest.raises(AusamError, match="neither BatchNorm with affine parameters nor biases"):
        hold_weights(convert(bare))
