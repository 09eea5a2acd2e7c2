"""From a trained quantized network to integers, to an ONNX file, and back to compare them."""
