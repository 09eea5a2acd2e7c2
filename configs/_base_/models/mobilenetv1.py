"""MobileNetV1."""

model = dict(
    type="Classifier",
    label_smoothing=0.1,  # the paper does not say; its authors' code takes 0.1
    net=dict(type="SmallImageMobileNetV1", num_classes=10),
)
