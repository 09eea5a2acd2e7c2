"""A network of one's own: float, then 2-bit weights and 4-bit activations, then an ONNX file.

    PYTHONPATH=. python examples/quantize_own_network.py           # a sample of 250 images
    PYTHONPATH=. python examples/quantize_own_network.py --data FOLDER --epochs 30 --out my.onnx

FOLDER holds ``cifar-10-batches-py``. PYTHONPATH names the repository: ``tasks`` is not installed.
What quantization adds to a float loop is marked with (1) to (5). The file computes what the integer
network computes, to the bit; onnx and onnxruntime come with ``pip install ".[export]"``.
"""

# A step calls its closure before the loop goes on, so the closure may use the loop's variables.
# ruff: noqa: B023

import argparse
import pickle
from pathlib import Path

import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler
from tasks.qat import STEPS, Policy, adapt_to_method, calibrate, export, quantize


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


def train(method: SAM, model: nn.Module, data: TensorDataset, epochs: int) -> None:
    """AUSAM: half of each batch, chosen before it is loaded."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(method.optimizer, epochs)
    selection = GradientNormSelection(len(data), alpha=0.5)
    sampler = SelectiveBatchSampler(RandomSampler(data), 50, selection)
    sampler.begin_run(epochs)
    loader = DataLoader(data, batch_sampler=sampler)
    for _ in range(epochs):
        for batch, (images, labels) in sampler.over(loader):
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
        schedule.step()
        method.check()  # ends the run where nothing but NaN comes out of it


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    right = float((model(images).argmax(1) == labels).float().mean())
    model.train()
    return right


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=8, help="of each of the two trainings")
    parser.add_argument("--out", type=Path, default=Path("model.onnx"))
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    train_set, test_set = cifar10(args.data, "data_batch_*"), cifar10(args.data, "test_batch")
    images, labels = test_set.tensors
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    train(SAM(optimizer, model, rho=0.05), model, train_set, args.epochs)

    # (1) A quantized copy; what has no integer form is refused here, before it is trained.
    quantized = quantize(model, images[:1], Policy(weight_bits=2, activation_bits=4))
    # (2) The first step of every quantizer, from a few batches; labels beside images do not matter.
    calibrate(quantized, DataLoader(train_set, 50))
    calibrated = accuracy(quantized, images, labels)
    # (3) The same training at a lower rate, with steps (the widths of quantizers) left out of ε;
    # (4) each pass then computes what SAM needs of it, and nothing else.
    optimizer = torch.optim.SGD(quantized.parameters(), lr=0.01, momentum=0.9)
    method = SAM(optimizer, quantized, rho=0.05, exclude=[STEPS])
    adapt_to_method(quantized, method)
    train(method, quantized, train_set, args.epochs)
    # (5) The file, held against the training graph on some images before it is written.
    export(quantized, images[:32], args.out)

    (scores,) = onnxruntime.InferenceSession(args.out).run(None, {"images": images.numpy()})
    in_file = float((torch.from_numpy(scores).argmax(1) == labels).float().mean())
    at_first, at_last = (accuracy(net, images, labels) for net in (model, quantized))
    print(
        f"accuracy of the float network {at_first:.3f}, quantized and calibrated {calibrated:.3f}"
    )
    print(f"trained {at_last:.3f}, read from the file {in_file:.3f}")
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")
    return quantized


if __name__ == "__main__":
    main()
