"""Operators of our own, a kind a file: steps that have one good ONNX form,
which the exporter would not find by itself.

They live in the `camport` namespace, run on any device and floating type, and exist in lowered
graphs alone.
"""

from camport.export.operators import masks as masks
from camport.export.operators import max_pool_grad as max_pool_grad
from camport.export.operators import resize as resize
from camport.export.operators import zero_insert as zero_insert
