"""The ONNX operators as torch functions, a family a file; importing this package registers all."""

from camport.models.onnx.operators import activation as activation
from camport.models.onnx.operators import attention as attention
from camport.models.onnx.operators import blocks as blocks
from camport.models.onnx.operators import comparison as comparison
from camport.models.onnx.operators import convolution as convolution
from camport.models.onnx.operators import creation as creation
from camport.models.onnx.operators import elementwise as elementwise
from camport.models.onnx.operators import indexing as indexing
from camport.models.onnx.operators import matmul as matmul
from camport.models.onnx.operators import normalization as normalization
from camport.models.onnx.operators import padding as padding
from camport.models.onnx.operators import pooling as pooling
from camport.models.onnx.operators import quantization as quantization
from camport.models.onnx.operators import reduction as reduction
from camport.models.onnx.operators import resize as resize
from camport.models.onnx.operators import scatter as scatter
from camport.models.onnx.operators import shape as shape
from camport.models.onnx.operators import sorting as sorting
