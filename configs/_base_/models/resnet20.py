"""ResNet-20 of He et al., made for CIFAR-10: three stages of 16, 32 and 64 channels."""

model = dict(
    type="Classifier",
    net=dict(type="CifarResNet", depth=20, num_classes=10),
)
