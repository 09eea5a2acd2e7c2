"""What two ranks do, for ``test_distributed``: all runs in one launch, written down rank by rank.

``torchrun --nproc-per-node 2 -m tests.ausam_core.mmengine.ranks DIRECTORY``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ausam_core import in_second_pass
from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    STOCK,
    Net,
    Probe,
    augment,
    flat,
    hook_of,
    make_runner,
    pack,
    state_of,
)
from tests.leave import leave

RHO = 0.1
SIZE, EPOCHS = 31, 3  # 16 samples a rank: one of them is padding
GLOBAL = {**SAM, "method": dict(type="SAM", rho=RHO)}
LOCAL = {**SAM, "method": dict(type="SAM", rho=RHO, perturb="local")}
HOOK = dict(type="AUSAMHook")
IN_THE_LOOP = dict(type="AUSAMHook", rho=RHO, selection=HALF)
CASES: dict[str, dict[str, Any]] = {
    "global": dict(wrapper=GLOBAL, selection=HALF, hooks=[HOOK]),
    "global, accumulation 2": dict(
        wrapper={**GLOBAL, "accumulative_counts": 2}, selection=HALF, hooks=[HOOK]
    ),
    "local": dict(wrapper=LOCAL, selection=HALF, hooks=[HOOK]),
    "local, accumulation 2": dict(
        wrapper={**LOCAL, "accumulative_counts": 2}, selection=HALF, hooks=[HOOK]
    ),
    "in the loop": dict(wrapper=STOCK, hooks=[IN_THE_LOOP]),
    # Four iterations are a pass through the data.
    "in the loop, by iterations": dict(
        wrapper=STOCK,
        hooks=[IN_THE_LOOP],
        train_cfg=dict(by_epoch=False, max_iters=4 * EPOCHS),
        loader=dict(sampler=dict(type="InfiniteSampler", shuffle=True, seed=1)),
    ),
    "global, unused parameters": dict(wrapper=GLOBAL, selection=HALF, hooks=[HOOK], unused=True),
}

# Methods that reuse, combine or decide; every other batch is trained in no_sync().
APART = {
    f"{method['type']}, accumulation 2": dict(
        wrapper={**SAM, "method": dict(rho=RHO, **method), "accumulative_counts": 2},
        selection=HALF,
        hooks=[HOOK],
    )
    for method in (
        dict(type="GSAM"),
        dict(type="LookSAM", k=3),
        dict(type="AESAM"),
        dict(type="VSAM", warmup_steps=2, window=4),
    )
}


class Climb(Hook):
    """Keeps each batch's own gradient at w, found without DDP, and the ε that was used."""

    def __init__(self) -> None:
        self.gradients: list[torch.Tensor] = []
        self.perturbations: list[torch.Tensor] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        model = runner.model.module
        self.weights = flat(model)
        buffers = [b.clone() for b in model.buffers()]
        kept, model.fault = model.fault, None
        loss = model(**data_batch, mode="loss")["loss"]
        model.fault = kept
        parameters = list(model.parameters())
        gradient = torch.autograd.grad(loss, parameters, allow_unused=True)
        self.gradients.append(
            torch.cat(
                [
                    torch.zeros(p.numel()) if g is None else g.flatten()
                    for g, p in zip(gradient, parameters, strict=True)
                ]
            )
        )
        for buffer, then in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(then)

    def __call__(self, model: Any, loss: torch.Tensor) -> torch.Tensor:
        if in_second_pass():
            self.perturbations.append(flat(model) - self.weights)
        return loss


def make(directory: Path, name: str, epochs: int = EPOCHS, **more: Any) -> tuple[Any, Any, Any]:
    case = dict({**CASES, **APART}[name])
    climb, probe = Climb(), Probe()
    unused = case.pop("unused", False)
    model = Net(fault=climb)
    if unused:
        model.idle = torch.nn.Linear(2, 2)
        torch.nn.init.ones_(model.idle.weight)
        torch.nn.init.ones_(model.idle.bias)
    settings = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        device_ids=None,
        find_unused_parameters=unused,
    )
    runner = make_runner(
        directory / name.replace(" ", "-").replace(",", ""),
        model=model,
        launcher="pytorch",
        cfg=Config(dict(model_wrapper_cfg=settings)),
        size=SIZE,
        batch_size=4,
        epochs=epochs,
        pipeline=[augment, pack],
        save=True,
        **{**case, "hooks": [*case["hooks"], climb, probe]},
        **more,
    )
    return runner, climb, probe


def seen(runner: Any, climb: Any, probe: Any) -> dict[str, Any]:
    scores = hook_of(runner).choice.selection.scores
    return dict(
        wrapped=type(runner.model).__name__,
        weights=probe.weights,
        state=state_of(runner.model.module),
        optimizer=runner.optim_wrapper.optimizer.state_dict(),
        gradients=climb.gradients,
        perturbations=climb.perturbations,
        batches=probe.batches,
        count=scores._count,
        scores=scores.of(torch.arange(SIZE)),
    )


def main(directory: Path) -> None:
    # MMEngine would first choose a CUDA device for each rank.
    torch.distributed.init_process_group("gloo")
    found = {}
    for name in (*CASES, *APART):
        run = make(directory, name)
        run[0].train()
        found[name] = seen(*run)
    # Resumed from the second epoch on, by runners that know nothing of the first two.
    name = "global, accumulation 2"
    checkpoint = directory / name.replace(" ", "-").replace(",", "") / "epoch_2.pth"
    run = make(directory / "resumed", name, resume=True, load_from=str(checkpoint))
    run[0].train()
    found["resumed"] = seen(*run)
    torch.save(found, directory / f"rank_{get_rank()}.pt")
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
