"""All random state of a training process, as tensors and plain values for a checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ausam_core.random_state import RandomState


def capture_random_state() -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators."""
    version, words, gauss = random.getstate()
    state: Any = np.random.get_state()
    name, keys, position, has_gauss, cached = state
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "name": name,
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": position,
            "has_gauss": has_gauss,
            "cached": cached,
        },
        "torch": RandomState.capture().state_dict(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Make what :func:`capture_random_state` gave the present state."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = numpy["keys"].cpu().numpy().astype(np.uint32)
    np.random.set_state(
        (numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"])
    )
    RandomState.from_state_dict(state["torch"]).restore()


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's CPU generator; CUDA is left alone."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
