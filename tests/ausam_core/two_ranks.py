"""Run by torchrun from test_distributed.py: every method on two ranks; prints what each found."""

import json
import os
import sys
from functools import partial

import torch
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import ausam_core
from ausam_core import (
    AllSamples,
    ForwardRecord,
    GradientNormSelection,
    InfoBatchSelection,
    SelectiveBatchSampler,
)
from tests.leave import leave

N = 52  # not a multiple of what two ranks take: samplers pad
G = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(N, 6, generator=G), torch.randint(3, (N,), generator=G))


def network(views):
    torch.manual_seed(0)
    layers = nn.Linear(6, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3)
    # Every rank keeps its own running statistics, as MMEngine does.
    return DistributedDataParallel(
        nn.Sequential(*layers), broadcast_buffers=False, gradient_as_bucket_view=views
    )


def train(method_name, settings, make_selection, epochs=4, accumulate=1, views=False, bad=None):
    """Train; ``bad``: a step whose loss is infinite on rank 0, with a gradient that is not."""
    model, selection = network(views), make_selection()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    method = getattr(ausam_core, method_name)(optimizer, model, **settings)
    sampler = SelectiveBatchSampler(DistributedSampler(DATA), 8, selection, seed=3)
    epsilons, steps = [], 0

    def closure_for(x, y):
        def closure(subset=slice(None)):
            if ausam_core.in_second_pass() and not epsilons:
                epsilons.append([float(p.detach().double().sum()) for p in model.parameters()])
            outputs = model(x[subset])
            losses = F.cross_entropy(outputs, y[subset], reduction="none")
            if steps == bad and dist.get_rank() == 0:
                losses = losses + torch.inf
            return ForwardRecord(losses.mean(), losses, outputs)

        return closure

    for _ in range(epochs):
        batches = []
        for batch, (x, y) in sampler.over(DataLoader(DATA, batch_sampler=sampler)):
            batches.append(len(x))
            last = len(batches) % accumulate == 0
            if last:
                result = method.accumulate(closure_for(x, y), batch=batch, factor=1 / accumulate)
                method.update()
            else:
                with model.no_sync():
                    result = method.accumulate(
                        closure_for(x, y), batch=batch, factor=1 / accumulate
                    )
            steps += 1
            sampler.record(batch, result)
        if len(batches) % accumulate:
            method.update()  # of a rest that was in no_sync()
        method.end_epoch()
    scores = getattr(selection, "scores", None)
    return {
        "weights": [p.detach().double().sum().item() for p in model.parameters()],
        "finite": all(bool(p.isfinite().all()) for p in model.parameters()),
        "epsilon": epsilons[0] if epsilons else None,
        "steps": steps,
        "skipped": method.skipping.read()[0],
        "scores": None if scores is None else scores.of(torch.arange(N)).tolist(),
        "visits": None if scores is None else int(scores._count.sum()),
        "table": {
            epoch: table[:N].isnan().any(1).sum().item()
            for epoch, table in getattr(method, "_tables", {}).items()
        },
    }


def of_one_rank():
    """Each rank trains a model of its own, in a group of its own."""
    rank = dist.get_rank()
    group = [dist.new_group([r]) for r in range(2)][rank]
    torch.manual_seed(rank)
    model, selection = nn.Linear(6, 3), HALF()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    saf = ausam_core.SAF(optimizer, model, process_group=group, start_epoch=0, lag=1)
    sam = ausam_core.SAM(optimizer, model, process_group=group)
    sampler = SelectiveBatchSampler(range(N - 8 * rank), 8, selection, process_group=group)
    outputs = torch.full((N, 3), torch.nan)
    for batch, (x, y) in sampler.over(DataLoader(DATA, batch_sampler=sampler)):

        def closure(batch=batch, x=x, y=y):
            found = model(x)
            outputs[batch.indices] = found.detach()
            losses = F.cross_entropy(found, y, reduction="none")
            return ForwardRecord(losses.mean(), losses, found)

        sampler.record(batch, sam.step(closure, batch=batch))
        saf.step(closure, batch=batch)
    saf.end_epoch()
    seen = N - 8 * rank
    return {
        "visits": int(selection.scores._count.sum()),
        "own": bool(torch.equal(saf._tables[0][:seen], outputs[:seen])),
    }


def refused():
    """What cannot be right with several ranks, and what is said."""
    model = DistributedDataParallel(nn.Linear(6, 3), static_graph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    shards = ZeroRedundancyOptimizer(
        model.parameters(), optimizer_class=torch.optim.SGD, lr=0.1, momentum=0.9
    )
    local = ausam_core.SAM(optimizer, model, perturb="local")
    found = {}
    for name, attempt in {
        "static graph": lambda: local.step(lambda: model(torch.ones(2, 6)).sum(1)),
        "sharded momentum": lambda: ausam_core.MSAM(shards, model),
    }.items():
        try:
            attempt()
        except ausam_core.AusamError as error:
            found[name] = str(error)
    return found


HALF = partial(GradientNormSelection, N, start_epoch=1)
INFO = partial(InfoBatchSelection, N, epochs=4, delta=1.0)
CASES = {
    "Base": ("Base", {}, AllSamples),
    "SAM": ("SAM", {}, AllSamples),
    "SAM excluded": ("SAM", dict(exclude=["3"], excluded_pass=1), AllSamples),
    "SAM local": ("SAM", dict(perturb="local"), AllSamples),
    "AUSAM": ("SAM", {}, HALF),
    "AUSAM local": ("SAM", dict(perturb="local"), HALF),
    "GSAM": ("GSAM", {}, AllSamples),
    "LookSAM": ("LookSAM", dict(k=3), AllSamples),
    "ESAM": ("ESAM", {}, AllSamples),
    "KSAM": ("KSAM", {}, AllSamples),
    "AESAM": ("AESAM", dict(total_steps=16), AllSamples),
    "VSAM": ("VSAM", dict(window=4), AllSamples),
    "SAF": ("SAF", dict(start_epoch=0, lag=1), AllSamples),
    "MESA": ("MESA", dict(decay=0.5), AllSamples),
    "MSAM": ("MSAM", {}, AllSamples),
    "InfoBatch": ("SAM", {}, INFO),
}


def main():
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    found = {name: train(*case) for name, case in CASES.items()}
    for views in (False, True):
        where = " in views" if views else ""
        for name in CASES:
            found[f"{name} accumulated{where}"] = train(*CASES[name], accumulate=2, views=views)
    for name in ("Base", "SAM", "GSAM", "LookSAM"):
        found[f"{name} bad"] = train(*CASES[name], bad=4)
        found[f"{name} leftover"] = train(*CASES[name], accumulate=3)
        found[f"{name} accumulated bad"] = train(*CASES[name], accumulate=2, bad=4)
    found["own"], found["refused"] = of_one_rank(), refused()
    with open(os.path.join(sys.argv[1], f"{dist.get_rank()}.json"), "w") as file:
        json.dump(found, file)
    leave()


if __name__ == "__main__":
    main()
