"""The same files in every ONNX engine, in a browser and on a GPU."""
