"""Rewrites of captured graphs, one a file, each with what it requires and what it ensures."""

from camport.export.passes.attention import plain_softmax as plain_softmax
from camport.export.passes.bare_matmul import bare_matmul as bare_matmul
from camport.export.passes.batch_norm import fold_batch_norm as fold_batch_norm
from camport.export.passes.copies import drop_copies as drop_copies
from camport.export.passes.neutral import drop_unit_factors as drop_unit_factors
from camport.export.passes.neutral import expand_late as expand_late
from camport.export.passes.reshape import selects_to_squeezes as selects_to_squeezes
from camport.export.passes.reshape import views_to_reshapes as views_to_reshapes
from camport.export.passes.rows import onehot_to_rows as onehot_to_rows
from camport.export.passes.runner import GraphPass as GraphPass
from camport.export.passes.runner import run_passes as run_passes
from camport.export.passes.sizes import counts_to_products as counts_to_products
