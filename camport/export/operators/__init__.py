"""ONNX forms that the exporter would not find by itself, of operators of ATen and of our own.

The latter live in the `camport` namespace, run on any device and floating type, and exist in
lowered graphs alone.
"""

from camport.export.operators import erfinv as erfinv
from camport.export.operators import masks as masks
from camport.export.operators import max_pool_grad as max_pool_grad
from camport.export.operators import resize as resize
from camport.export.operators import zero_insert as zero_insert
