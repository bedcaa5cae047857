"""The embedder `onnx`: any image network as an ONNX file with a small manifest beside it."""
