"""The SimCC network of `simcc_mini.py` with 4-bit weights and activations; 8 bits at both ends.

The ends are the first convolution and the two linear layers that give x and y.
"""

_base_ = ["./simcc_mini.py"]

model = dict(
    type="QuantizedPoseEstimator",
    policy=dict(
        weight_bits=4,
        activation_bits=4,
        first_last=8,
        depthwise_bits=None,
        granularity="channel",
    ),
)
