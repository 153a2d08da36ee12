"""What the runtimes that read ONNX share."""
