"""ResNet-20 with 2-bit weights and 4-bit activations; first and last layer with 8 bits."""

_base_ = ["./resnet20.py"]

model = dict(
    type="QuantizedClassifier",
    policy=dict(
        weight_bits=2,
        activation_bits=4,
        first_last=8,
        depthwise_bits=None,
        granularity="channel",
    ),
)
