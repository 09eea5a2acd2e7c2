"""Make tests/data/cifar10: the first images of each class, in CIFAR-10's own file layout.

python tests/data/make_cifar_sample.py FOLDER_WITH_cifar-10-batches-py
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

FOLDER = "cifar-10-batches-py"
OUT = Path(__file__).parent / "cifar10" / FOLDER
PER_CLASS = {"data_batch_1": 25, "test_batch": 10}


def load(path: Path) -> dict:
    with open(path, "rb") as file:
        return pickle.load(file, encoding="latin1")


def main(source: Path) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, count in PER_CLASS.items():
        batch = load(source / FOLDER / name)
        labels = np.asarray(batch["labels"])
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))
        sample = {
            "batch_label": batch["batch_label"],
            "labels": labels[chosen].tolist(),
            "data": batch["data"][chosen],
            "filenames": [batch["filenames"][i] for i in chosen],
        }
        with open(OUT / name, "wb") as file:
            pickle.dump(sample, file, protocol=4)
    (OUT / "batches.meta").write_bytes((source / FOLDER / "batches.meta").read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
