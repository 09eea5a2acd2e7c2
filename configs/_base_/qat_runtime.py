"""What every quantized run shares, over the runtime of classification."""

_base_ = ["./classification_runtime.py"]

custom_imports = dict(
    imports=["ausam_core.mmengine", "tasks.classification", "tasks.qat.mmengine"],
    allow_failed_imports=False,
)
default_hooks = dict(
    quantization=dict(type="QuantizationHook", perturb="latent"),
    reestimation=dict(type="BatchNormReestimationHook", batches=50),
    checkpoint=dict(interval=5),
)
