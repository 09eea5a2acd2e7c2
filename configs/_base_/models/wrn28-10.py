"""WideResNet-28-10."""

model = dict(
    type="Classifier",
    label_smoothing=0.1,  # the paper does not say; its authors' code takes 0.1
    net=dict(type="WideResNet", depth=28, widen=10, num_classes=10),
)
