"""The tools as modules, and a configuration that trains in a second."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # as python tools/NAME.py does

TOY_CONFIG = """
custom_imports = dict(
    imports=['ausam_core.mmengine', 'tests.tools.toy_task'], allow_failed_imports=False)
model = dict(type='ToyClassifier')
loader = dict(
    batch_size=16, num_workers=0,
    dataset=dict(type='ToyPoints', pipeline=[dict(type='PackPoint')]))
train_dataloader = dict(
    **loader, sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(
        type='SelectiveBatchSampler',
        selection=dict(type='GradientNormSelection', alpha=0.5, s_min=0.1, s_max=1.0)))
val_dataloader = dict(**loader, sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='ToyAccuracy')
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = test_cfg = dict()
optim_wrapper = dict(
    type='SAMOptimWrapper', method=dict(type='SAM', rho=0.05), optimizer=dict(type='Adam', lr=0.01))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='AUSAMHook')]
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=16)
"""


@pytest.fixture(scope="session")
def tool() -> Callable[[str], ModuleType]:
    """Load tools/NAME.py as a module; by path, since one is called as a part of Python is: test."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / f"tools/{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(autouse=True)
def no_run_before_this():
    """Runs of one second share MMEngine's logger, which may write to a stream that was closed."""
    for kind in (DefaultScope, MMLogger, MessageHub, Visualizer):
        kind._instance_dict.clear()


@pytest.fixture
def toy_config(tmp_path: Path) -> Path:
    """A configuration of AUSAM on the toy task, in a folder of its own."""
    path = tmp_path / "toy.py"
    path.write_text(TOY_CONFIG)
    return path


@pytest.fixture
def fails_with(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Run a tool's main; it must end with one line ``error: …`` on stderr and exit code 2."""
    from _common import run_tool

    def run(main: Callable, *argv: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            run_tool(lambda: main([str(arg) for arg in argv]))
        assert exit_info.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "WARNING" not in line]
        assert len(lines) == 1 and lines[0].startswith("error: "), lines
        return lines[0]

    return run
