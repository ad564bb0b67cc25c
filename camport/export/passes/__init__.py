"""Rewrites of captured graphs, one a file, each with what it requires and what it ensures."""

from camport.export.passes.bare_matmul import bare_matmul as bare_matmul
from camport.export.passes.batch_norm import fold_batch_norm as fold_batch_norm
from camport.export.passes.copies import drop_copies as drop_copies
from camport.export.passes.reshape import views_to_reshapes as views_to_reshapes
from camport.export.passes.runner import GraphPass as GraphPass
from camport.export.passes.runner import run_passes as run_passes
from camport.export.passes.sizes import counts_to_products as counts_to_products
