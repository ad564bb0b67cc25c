"""Rewrites of captured graphs, one a file, each with what it requires and what it ensures."""

from camport.export.passes.attention import plain_softmax as plain_softmax
from camport.export.passes.bare_matmul import bare_matmul as bare_matmul
from camport.export.passes.batch_norm import fold_batch_norm as fold_batch_norm
from camport.export.passes.duplicates import merge_duplicates as merge_duplicates
from camport.export.passes.exact_sigmoid import exact_sigmoid as exact_sigmoid
from camport.export.passes.linear_rows import flat_products_to_rows as flat_products_to_rows
from camport.export.passes.onehot_to_gather import onehot_to_rows as onehot_to_rows
from camport.export.passes.pads_to_concat import joined_pads as joined_pads
from camport.export.passes.remove_copies import drop_copies as drop_copies
from camport.export.passes.remove_identities import drop_identities as drop_identities
from camport.export.passes.remove_unit_factors import drop_unit_factors as drop_unit_factors
from camport.export.passes.remove_unit_factors import expand_late as expand_late
from camport.export.passes.reshape import selects_to_squeezes as selects_to_squeezes
from camport.export.passes.reshape import views_to_reshapes as views_to_reshapes
from camport.export.passes.runner import GraphPass as GraphPass
from camport.export.passes.runner import run_passes as run_passes
from camport.export.passes.slice_pushdown import early_slices as early_slices
from camport.export.passes.sparse_rows import late_zeros as late_zeros
from camport.export.passes.symbolic_sizes import counts_to_products as counts_to_products
from camport.export.passes.symbolic_sizes import sizes_of_inputs as sizes_of_inputs
from camport.export.passes.weighted_sums import weighted_sums as weighted_sums

BEFORE = (plain_softmax, fold_batch_norm, bare_matmul, views_to_reshapes)
"""Passes that must see backward operators as they were recorded."""

AFTER = (
    drop_copies,
    views_to_reshapes,
    drop_unit_factors,
    expand_late,
    onehot_to_rows,
    drop_identities,
    sizes_of_inputs,
    flat_products_to_rows,
    drop_identities,
    late_zeros,
    early_slices,
    joined_pads,
    weighted_sums,
    exact_sigmoid,
    merge_duplicates,
    selects_to_squeezes,
    counts_to_products,
)
"""Passes over the lowered, functional graph."""
