"""ResNet-20 for CIFAR with shortcuts without parameters, as low-bit papers compare on."""

model = dict(
    type="Classifier",
    label_smoothing=0.0,
    net=dict(type="CifarResNet", depth=20, num_classes=10),
)
