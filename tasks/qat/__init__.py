"""Quantization-aware training: put `tasks.qat` under a config's `custom_imports`."""
