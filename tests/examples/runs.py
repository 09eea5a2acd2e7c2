"""Running the examples: in this process, and by torchrun on several."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch import distributed as dist

from tests.leave import leave

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DATA = ROOT / "tests/data/cifar10"

Job = tuple[str, list[str]]
"""Name of an example, flags."""


def load(name: str) -> ModuleType:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *flags: object, data: Path = DATA) -> nn.Module:
    """Run an example's ``main`` here, on the real images of tests/data."""
    return load(name).main(["--data", str(data), *map(str, flags)])


def weights(model: nn.Module) -> Tensor:
    """All parameters in one vector, whole also where they are sharded."""
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return torch.cat([p.detach().flatten().cpu() for p in whole])


def torchrun(folder: Path, jobs: dict[str, Job], ranks: int = 2) -> dict[str, list[Tensor]]:
    """Run examples one after the other on several processes.

    Returns:
        For each job the weights that each rank ends with.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", __file__, str(folder), json.dumps(jobs)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return {job: [torch.load(folder / f"{job}-{r}.pth") for r in range(ranks)] for job in jobs}


def main(folder: str, jobs: str) -> None:
    torch.set_num_threads(1)
    for job, (name, flags) in json.loads(jobs).items():
        torch.save(weights(run(name, *flags)), f"{folder}/{job}-{os.environ['RANK']}.pth")
        dist.barrier()  # fails where an example did not join the other process
        # The next example finds the processes joined. A second time would hang now and then: torch
        # looks for the addresses under the same keys, and may find those of the first time.
        dist.init_process_group = lambda *_: None
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
