"""`tasks.qat` is for any loop: it works where MMEngine is not installed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOM = ROOT / "tasks/qat"
PLAIN = [p for p in ROOM.rglob("*.py") if "mmengine" not in p.relative_to(ROOM).parts]

SCRIPT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mmengine", "mmcv", "mmpose"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())

import torch, torch.nn.functional as F
from torch import nn
from tasks.qat import Policy, calibrate, convert
from tasks.qat.deploy.lower import lower

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
network = convert(net, Policy(weight_bits=2, activation_bits=4))
calibrate(network, [torch.randn(4, 3, 8, 8)])
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
F.cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
optimizer.step()
print(lower(network.eval())(torch.zeros(1, 3, 8, 8)).shape, "mmengine" in sys.modules)
"""


def test_a_network_is_converted_trained_and_lowered_with_mmengine_blocked():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split("\n")[0] == "torch.Size([1, 10]) False", done.stderr[-2000:]


@pytest.mark.parametrize("path", PLAIN, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_room_for_it_imports_mmengine(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    assert not [name for name in names if "mmengine" in name.split(".")]
