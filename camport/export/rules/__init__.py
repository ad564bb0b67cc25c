"""Backward operators written with forward ones, and what else ONNX lacks, a family a file.
`registry` finds them."""

from camport.export.rules import activation as activation
from camport.export.rules import convolution as convolution
from camport.export.rules import forward as forward
from camport.export.rules import normalization as normalization
from camport.export.rules import padding as padding
from camport.export.rules import pooling as pooling
from camport.export.rules import resize as resize
from camport.export.rules import sampling as sampling
from camport.export.rules import shape as shape
from camport.export.rules import softmax as softmax
from camport.export.rules import windows as windows
from camport.export.rules.plain import PLAIN_RULES as PLAIN_RULES
from camport.export.rules.registry import RULES as RULES
from camport.export.rules.registry import lowered as lowered
from camport.export.rules.registry import lowers as lowers
