"""What a SAM step costs beside the model: few operators, whatever the model, and no waiting."""

from __future__ import annotations

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ausam_core.mmengine import SAMOptimWrapper
from tests.ausam_core.mmengine.tiny import Net, Points


class Operators(TorchDispatchMode):
    """Counts operators; those that the profiler's annotations leave behind do not count."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.namespace != "profiler":
            self.names.append(operator.name())
        return operator(*args, **(kwargs or {}))


def operators_of_a_step(depth, optimizer, loss=nn.CrossEntropyLoss):
    """Operators of a SAM step, and of the forward and backward passes in it alone."""
    model = Net(depth=depth, loss=loss())
    wrapper = SAMOptimWrapper(
        optimizer=getattr(torch.optim, optimizer["type"])(
            model.parameters(), **{k: v for k, v in optimizer.items() if k != "type"}
        ),
        method=dict(type="SAM", rho=0.1),
    )
    wrapper.initialize_count_status(model, 0, 100)
    batch = pseudo_collate(list(Points(8)))
    for _ in range(2):  # optimizer state and copies are made in the first step
        model.train_step(batch, wrapper)
    with Operators() as step:
        model.train_step(batch, wrapper)
    with Operators() as pass_1:
        data = model.data_preprocessor(batch, True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
    model.zero_grad()
    with wrapper.method.statistics.frozen(), Operators() as pass_2:
        model.parse_losses(model(**data, mode="loss"))[0].backward()
    return len(step.names), len(pass_1.names) + len(pass_2.names), len(list(model.parameters()))


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True),
        dict(type="SGD", lr=0.1, momentum=0.9, foreach=True),
        dict(type="Adam", lr=0.1, fused=True),
    ],
    ids=["fused SGD", "foreach SGD", "fused Adam"],
)
def test_a_step_dispatches_at_most_30_operators_for_any_number_of_parameters(optimizer):
    beside = {}
    for depth in (1, 10):
        whole, passes, parameters = operators_of_a_step(depth, optimizer)
        beside[parameters] = whole - passes
    assert list(beside) == [6, 42]
    few, many = beside.values()
    assert few == many
    assert 5 < many <= 30


@pytest.mark.gpu
def test_a_step_with_a_fused_optimizer_never_waits_for_the_device():
    model = Net(depth=2).cuda()
    wrapper = SAMOptimWrapper(
        optimizer=torch.optim.Adam(model.parameters(), fused=True), method=dict(type="SAM")
    )
    wrapper.initialize_count_status(model, 0, 100)
    batch = pseudo_collate(list(Points(8)))
    model.train_step(batch, wrapper)
    inputs = torch.randn(8, 6, device="cuda")
    labels = torch.randint(3, (8,), device="cuda")

    # Net builds its labels from the samples, which is a copy to the device; this one does not.
    class Direct(Net):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            return dict(loss=nn.functional.cross_entropy(self.head(self.body(inputs)), labels))

    model.__class__ = Direct
    with wrapper.optim_context(model):
        losses = model(inputs=inputs, data_samples=None, mode="loss")
    loss = losses["loss"].mean()
    torch.cuda.set_sync_debug_mode("error")
    try:
        wrapper.update_params(loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert wrapper.last_result.finite
