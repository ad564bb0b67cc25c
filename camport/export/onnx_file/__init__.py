"""An .onnx file: how it is written from a graph, what it must not contain,
what is done to it once it is proven."""
