"""Pose estimation with MMPose: put `tasks.pose` under a config's `custom_imports`.

Importing this package lets MMPose 1.3.2 run on a current stack (`stand_ins`) and registers, in
MMEngine's root registries, what its configs use: `ZeroBasedMpiiDataset`, `OwnPoseDataset`,
`LoadPoseImage`, `EfficientNetLite0`, `MarginalSimCCHead`, `TrainingAccuracyHook` and
`ChannelsLastHook`.
:func:`check_config` finds missing, broken and odd data before a run starts.
"""

from . import stand_ins

stand_ins.install()  # first: everything below may import mmpose

from . import bfloat16  # noqa: E402

bfloat16.install()

from .channels_last import ChannelsLastHook  # noqa: E402
from .check import check_config, check_dataset  # noqa: E402
from .efficientnet_lite import EfficientNetLite0  # noqa: E402
from .images import LoadPoseImage  # noqa: E402
from .marginal_head import MarginalSimCCHead  # noqa: E402
from .mpii import ZeroBasedMpiiDataset  # noqa: E402
from .own_data import OwnPoseDataset  # noqa: E402
from .training_accuracy import TrainingAccuracyHook  # noqa: E402

__all__ = [
    "ChannelsLastHook",
    "EfficientNetLite0",
    "LoadPoseImage",
    "MarginalSimCCHead",
    "OwnPoseDataset",
    "TrainingAccuracyHook",
    "ZeroBasedMpiiDataset",
    "check_config",
    "check_dataset",
]
