"""ResNet-18 with 2-bit weights and 4-bit activations.

The paper says no more than W2A4. Decided here: first and last layer have 8 bits, as in QDrop, PACT
and the code of Nagel et al.; a step for each output channel;
no label smoothing, as the paper speaks of cross entropy alone.
"""

_base_ = ["./resnet18.py"]

model = dict(
    type="QuantizedClassifier",
    label_smoothing=0.0,
    policy=dict(
        weight_bits=2,
        activation_bits=4,
        first_last=8,
        depthwise_bits=None,
        granularity="channel",
    ),
)
