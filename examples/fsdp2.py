"""AUSAM with FSDP2: parameters sharded by ``fully_shard``, saved by distributed checkpoint.

    torchrun --nproc-per-node 2 examples/fsdp2.py --checkpoint FOLDER

Each rank perturbs its own shards by the norm over all of them; a step is that of one process on
the samples of all ranks, within rounding. A checkpoint of shards resumes on another number of
ranks. Needs torch 2.6.
"""

# A step calls its closure before the loop goes on, so the closure may use the loop's variables.
# ruff: noqa: B023

import argparse
import os
import pickle
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler


def cifar10(folder: str, files: str) -> TensorDataset:
    """Images ``[n, 3, 32, 32]`` in [-1, 1] and labels, of the files that are there."""
    found = sorted(Path(folder, "cifar-10-batches-py").glob(files))
    batches = [pickle.loads(file.read_bytes(), encoding="latin1") for file in found]
    pixels = torch.cat([torch.from_numpy(batch["data"]) for batch in batches])
    labels = torch.tensor([label for batch in batches for label in batch["labels"]])
    return TensorDataset(pixels.view(-1, 3, 32, 32) / 127.5 - 1, labels)


def network() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50, help="of all ranks")
    parser.add_argument("--stop-after", type=int, help="break off after so many epochs")
    parser.add_argument("--checkpoint", type=Path, help="folder; resumed where it holds epochs")
    args = parser.parse_args(argv)

    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu else "gloo")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    torch.manual_seed(0)
    train_set = cifar10(args.data, "data_batch_*")
    model = network().to(device)
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            fully_shard(layer)
    fully_shard(model)
    # After sharding: the optimizer's parameters are the shards.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    selection = GradientNormSelection(len(train_set), alpha=0.5)
    own_share = args.batch_size // dist.get_world_size()
    sampler = SelectiveBatchSampler(DistributedSampler(train_set), own_share, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.1)

    def state_of_run() -> dict:
        weights, momentum = get_state_dict(model, optimizer)
        state = {"model": weights, "optimizer": momentum, "method": method.run_state()}
        return {**state, "sampler": sampler.state_dict()}

    # A folder an epoch; .metadata is written last, so a folder that has it is whole.
    saved = sorted(args.checkpoint.glob("*/.metadata")) if args.checkpoint else []
    if saved:
        state = state_of_run()
        dcp.load(state, checkpoint_id=saved[-1].parent)
        set_state_dict(
            model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
        )
        method.load_run_state(state["method"])
        sampler.load_state_dict(state["sampler"])

    for epoch in range(sampler.epoch, args.stop_after or args.epochs):
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), labels.to(device)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
        print(f"epoch {epoch}, rank {dist.get_rank()}: loss {result.loss:.3f}")
        if args.checkpoint:
            dcp.save(state_of_run(), checkpoint_id=args.checkpoint / f"{epoch:04}")
    return model


if __name__ == "__main__":
    main()
    dist.barrier()
    dist.destroy_process_group()
    if not torch.cuda.is_available():  # gloo: see docs/guides/sharding.md
        sys.stdout.flush()
        os._exit(0)
