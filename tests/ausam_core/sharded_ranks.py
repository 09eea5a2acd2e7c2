"""Run by torchrun from test_sharded.py: methods on sharded models; writes what each found."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import ausam_core
from ausam_core import Batch, ForwardRecord, GradientNormSelection, SelectiveBatchSampler
from ausam_core.ranks import local
from tests.leave import leave

STEPS, SIZE = 10, 16
G = torch.Generator().manual_seed(0)
X = torch.randn(STEPS // 2 * SIZE, 6, generator=G)  # two epochs
Y = torch.randint(3, (len(X),), generator=G)

#: method, settings, settings of the training
CASES = {
    "Base": ("Base", {}, {}),
    "SAM": ("SAM", {}, {}),
    "ASAM": ("SAM", dict(rho=0.5, adaptive=True), {}),
    "SAM excluded": ("SAM", dict(exclude=["0"], excluded_pass=1), {}),
    "GSAM": ("GSAM", {}, {}),
    "LookSAM": ("LookSAM", dict(k=3), {}),
    "ESAM": ("ESAM", dict(gamma=1.0), {}),
    "AESAM": ("AESAM", dict(total_steps=STEPS), {}),
    "VSAM": ("VSAM", dict(window=4), {}),
    "SAF": ("SAF", dict(start_epoch=0, lag=1, lam=3.0), {}),
    "MESA": ("MESA", dict(decay=0.5), {}),
    "MSAM": ("MSAM", {}, {}),
    "SAM clipped": ("SAM", dict(clip_grad_norm=0.05), {}),
    "SAM accumulated": ("SAM", {}, dict(accumulate=2)),
    "LookSAM accumulated": ("LookSAM", dict(k=2), dict(accumulate=2)),
    "SAM with Adam": ("SAM", {}, dict(optimizer="Adam")),
}
#: saved after five steps; in the middle of an accumulation there is a gradient, which nobody saves
RESUMED = [case for case, (_, _, training) in CASES.items() if "accumulate" not in training]


def evaluate(model):
    """The root keeps the parameters of its own afterwards."""
    model.eval()
    with torch.no_grad():
        model(X[:2])
    model.train()


#: how fully_shard comes to hold whole parameters, or to leave a backward pass unfinished: called
#: before each batch, with whether it is the last of its update
HELD = {
    "never resharded": lambda model, last: model.set_reshard_after_backward(False),
    "resharded at the last": lambda model, last: model.set_reshard_after_backward(last),
    "evaluated": lambda model, last: evaluate(model),
    "gathered by hand": lambda model, last: model.unshard(),
    "unfinished": lambda model, last: model.set_is_last_backward(last),
}
HELD_CASES = [
    *("SAM", "ASAM", "SAM excluded", "LookSAM", "MESA", "MSAM"),
    *("SAM accumulated", "LookSAM accumulated"),
]


def network():
    torch.manual_seed(0)
    layers = nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9, bias=False), nn.Tanh(), nn.Linear(9, 3)
    return nn.Sequential(*layers)


def shard(model, policy=None):
    settings = {} if policy is None else dict(mp_policy=policy)
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, **settings)
    return fully_shard(model, **settings)


def shard_but_the_first(model):
    """The first layer is the root's own."""
    for layer in list(model)[1:]:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(model)


def optimizer_of(model, kind="SGD"):
    if kind == "Adam":
        return torch.optim.Adam(model.parameters(), lr=0.01)
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def build(case, wrap=shard):
    name, settings, training = CASES[case]
    model = wrap(network())
    optimizer = optimizer_of(model, training.get("optimizer", "SGD"))
    return model, getattr(ausam_core, name)(optimizer, model, **settings)


def steps_of(model, method, steps, part, accumulate=1, before=None, **_):
    """Train on the given steps; of each batch this process takes ``part``."""
    result = None
    for step in steps:
        epoch, first = divmod(step * SIZE, len(X))
        planned = Batch(list(range(first, first + SIZE))[part], SIZE, epoch)

        def closure(subset=slice(None), planned=planned):
            outputs = model(X[planned.indices][subset])
            losses = F.cross_entropy(outputs, Y[planned.indices][subset], reduction="none")
            return ForwardRecord(losses.mean(), losses, outputs)

        last = (step + 1) % accumulate == 0
        if before is not None:
            before(model, last)
        result = method.accumulate(closure, batch=planned, factor=1 / accumulate)
        if last:
            method.update()
    return result


def weights(model):
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return torch.cat([p.detach().flatten() for p in whole]).tolist()


def own_part():
    size = SIZE // dist.get_world_size()
    return slice(dist.get_rank() * size, (dist.get_rank() + 1) * size)


def alone(case, steps=range(STEPS)):
    """One process, whole batches."""
    model, method = build(case, wrap=lambda m: m)
    # Every rank runs it; a group of its own keeps it from talking.
    method._process_group = GROUP_OF_ONE
    result = steps_of(model, method, steps, slice(None), **CASES[case][2])
    return weights(model), result.grad_norm


def train(case):
    expected, norm = alone(case)
    model, method = build(case)
    result = steps_of(model, method, range(STEPS), own_part(), **CASES[case][2])
    copies = getattr(method, "perturbation", None)
    held = 0 if copies is None else sum(c.numel() for c in copies._copies.values())
    return {
        "alone": expected,
        "sharded": weights(model),
        "grad_norm": [None if n is None else float(n) for n in (norm, result.grad_norm)],
        "copied": held,
        "parameters": sum(p.numel() for p in model.parameters()),
        "own": sum(local(p).numel() for p in model.parameters()),
    }


def held(case, how):
    """Train where parameters stay whole, or gradients on their way, between the passes."""
    # Only parts below the root are gathered ahead; only the root keeps its own after a forward.
    model, method = build(case, wrap=shard if how == "unfinished" else shard_but_the_first)
    steps_of(model, method, range(STEPS), own_part(), before=HELD[how], **CASES[case][2])
    evaluate(model)  # a checkpoint is of shards all the same
    kept = method.method_state().get("average", [])
    return {"weights": weights(model), "saved": [list(t.shape) for t in kept]}


def ausam(wrap):
    """AUSAM with a distributed sampler; sharded it must be what it is under DDP."""
    data = TensorDataset(X, Y)
    selection = GradientNormSelection(len(X), start_epoch=1)
    sampler = SelectiveBatchSampler(DistributedSampler(data), SIZE // 2, selection)
    model = wrap(network())
    method = ausam_core.SAM(optimizer_of(model), model)
    for _ in range(3):
        for batch, (x, y) in sampler.over(DataLoader(data, batch_sampler=sampler)):
            closure = lambda: F.cross_entropy(model(x), y, reduction="none")  # noqa: B023, E731
            sampler.record(batch, method.step(closure, batch=batch))
    return {"weights": weights(model), "scores": selection.scores.of(torch.arange(40)).tolist()}


def chosen_in_the_batch(name, wrap):
    """Methods that give each rank's passes a part of its batch; sharded as under DDP."""
    model = wrap(network())
    # Under DDP resting tensors of ESAM have gradients all the same; with beta=1 none rests.
    settings = dict(beta=1.0) if name == "ESAM" else {}
    method = getattr(ausam_core, name)(optimizer_of(model), model, gamma=0.5, **settings)
    steps_of(model, method, range(STEPS), own_part())
    return weights(model)


def bf16():
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = shard(network(), policy)
    method = ausam_core.SAM(optimizer_of(model), model, rho=0.5)
    seen = []
    for step in range(4):
        rows = slice(step * SIZE, (step + 1) * SIZE)
        x, y = X[rows][own_part()], Y[rows][own_part()]
        result = method.step(lambda: F.cross_entropy(model(x).float(), y, reduction="none"))  # noqa: B023
        seen.append(float(result.difference.mean()))
    return {"weights": weights(model), "difference": seen}


def tensor_parallel():
    """Two layers cut by columns and by rows; every rank sees the whole batch."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    found = {}
    for case in ("SAM", "GSAM", "LookSAM"):
        name, settings, _ = CASES[case]
        runs = []
        for prepare in (lambda m: m, lambda m: parallelize_module(m, mesh, plan)):
            torch.manual_seed(0)
            model = prepare(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
            method = getattr(ausam_core, name)(optimizer_of(model), model, **settings)
            method._process_group = GROUP_OF_ONE
            steps_of(model, method, range(STEPS), slice(None))
            runs.append(weights(model))
        found[case] = runs
    return found


def state_of(model, method):
    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, method.optimizer),
        "method": method.run_state(),
    }


def save(case, folder):
    """Half of a run, to a checkpoint of shards."""
    model, method = build(case)
    steps_of(model, method, range(STEPS // 2), own_part())
    method.end_epoch()
    dcp.save(state_of(model, method), checkpoint_id=folder)


def resume(case, folder):
    """The other half, on any number of ranks."""
    model, method = build(case)
    state = state_of(model, method)
    dcp.load(state, checkpoint_id=folder)
    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, method.optimizer, state["optimizer"])
    method.load_run_state(state["method"])
    steps_of(model, method, range(STEPS // 2, STEPS), own_part())
    return {"resumed": weights(model), "updates": method.updates}


def unsynchronised():
    """Without the reduction of gradients there is nothing to climb by."""
    model, method = build("SAM")
    model.set_requires_gradient_sync(False)
    try:
        steps_of(model, method, range(1), own_part())
    except ausam_core.AusamError as error:
        return str(error)
    return "ran"


def main():
    global GROUP_OF_ONE
    task, folder = sys.argv[1], Path(sys.argv[2])
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    groups = [dist.new_group([rank]) for rank in range(dist.get_world_size())]
    GROUP_OF_ONE = groups[dist.get_rank()]
    found = {}
    if task == "train":
        found = {case: train(case) for case in CASES}
        found["AUSAM"] = {
            "DDP": ausam(DistributedDataParallel),
            "sharded": ausam(shard),
        }
        for name in ("ESAM", "KSAM"):
            found[f"{name}, half"] = {
                "DDP": chosen_in_the_batch(name, DistributedDataParallel),
                "sharded": chosen_in_the_batch(name, shard),
            }
        found["bf16"] = bf16()
        found["tensor parallel"] = tensor_parallel()
        found["unsynchronised"] = unsynchronised()
        for case in HELD_CASES:
            found[case]["held"] = {how: held(case, how) for how in HELD}
        for case in RESUMED:
            save(case, folder / f"checkpoint-{case}")
            found[case].update(resume(case, folder / f"checkpoint-{case}"))
    else:
        for case in RESUMED:
            found[case] = resume(case, folder / f"checkpoint-{case}")
    world = dist.get_world_size()
    with open(os.path.join(folder, f"{task}-{world}-{dist.get_rank()}.json"), "w") as file:
        json.dump(found, file)
    leave()


if __name__ == "__main__":
    main()
