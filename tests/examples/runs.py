"""Running the examples: in this process, and by torchrun with several."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def load(name: str) -> ModuleType:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *flags: object) -> nn.Module:
    """Run an example's ``main`` here; data are the real images of tests/data."""
    return load(name).main(["--data", str(ROOT / "tests/data/cifar10"), *map(str, flags)])


def weights(model: nn.Module) -> Tensor:
    """All parameters in one vector, whole also where they are sharded."""
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return torch.cat([p.detach().flatten().cpu() for p in whole])


def torchrun(folder: Path, name: str, *flags: object, ranks: int = 2) -> list[Tensor]:
    """Run an example on several processes; the weights that each ends with."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", __file__, str(folder), name, *map(str, flags)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"weights-{rank}.pth") for rank in range(ranks)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    end = weights(run(*sys.argv[2:]))
    torch.save(end, f"{sys.argv[1]}/weights-{os.environ['RANK']}.pth")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
