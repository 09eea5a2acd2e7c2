"""PyramidNet-110, alpha 270."""

model = dict(
    type="Classifier",
    label_smoothing=0.1,  # the paper does not say; its authors' code takes 0.1
    net=dict(type="PyramidNet", depth=110, alpha=270, num_classes=10),
)
