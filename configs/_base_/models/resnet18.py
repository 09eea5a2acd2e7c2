"""ResNet-18 with a 3 x 3 stem."""

model = dict(
    type="Classifier",
    label_smoothing=0.1,  # the paper does not say; its authors' code takes 0.1
    net=dict(type="SmallImageResNet", depth=18, num_classes=10),
)
