"""A bare .onnx file as a model: its nodes rebuilt as traceable torch operations.

Importing this package does not import onnx; loading a file does.
"""

from camport.models.onnx.loading import load_onnx as load_onnx
from camport.models.onnx.model import OnnxModel as OnnxModel
