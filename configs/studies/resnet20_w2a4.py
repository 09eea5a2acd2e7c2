"""Not in the paper: ResNet-20 on CIFAR-10 with 2-bit weights and 4-bit activations.

It starts from published weights (91.7 %), of which `tools/import_weights.py` makes a checkpoint.
Learning rate and steps as in Table 6.
"""

_base_ = [
    "../_base_/qat_runtime.py",
    "../_base_/datasets/cifar10_resnet20.py",
    "../_base_/models/resnet20.py",
    "../_base_/schedules/qat_100e.py",
]

float_config = "configs/studies/resnet20_float.py"
model = dict(
    type="QuantizedClassifier",
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    float_checkpoint="data/checkpoints/resnet20_cifar10.pth",
    policy=dict(
        weight_bits=2,
        activation_bits=4,
        first_last=8,
        depthwise_bits=None,
        granularity="channel",
    ),
)
