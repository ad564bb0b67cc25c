"""Rewrites of captured graphs, one a file, each with what it requires and what it ensures."""

from camport.export.passes.attention import plain_softmax as plain_softmax
from camport.export.passes.bare_matmul import bare_matmul as bare_matmul
from camport.export.passes.batch_norm import fold_batch_norm as fold_batch_norm
from camport.export.passes.duplicates import merge_duplicates as merge_duplicates
from camport.export.passes.exact_sigmoid import exact_sigmoid as exact_sigmoid
from camport.export.passes.linear_rows import flat_products_to_rows as flat_products_to_rows
from camport.export.passes.onehot_to_gather import onehot_to_gather as onehot_to_gather
from camport.export.passes.pads_to_concat import pads_to_concat as pads_to_concat
from camport.export.passes.remove_copies import remove_copies as remove_copies
from camport.export.passes.remove_identities import remove_identities as remove_identities
from camport.export.passes.remove_unit_factors import expand_late as expand_late
from camport.export.passes.remove_unit_factors import remove_unit_factors as remove_unit_factors
from camport.export.passes.reshape import selects_to_squeezes as selects_to_squeezes
from camport.export.passes.reshape import views_to_reshapes as views_to_reshapes
from camport.export.passes.runner import GraphPass as GraphPass
from camport.export.passes.runner import run_passes as run_passes
from camport.export.passes.slice_pushdown import slice_pushdown as slice_pushdown
from camport.export.passes.sparse_rows import sparse_rows as sparse_rows
from camport.export.passes.symbolic_sizes import counts_to_products as counts_to_products
from camport.export.passes.symbolic_sizes import sizes_of_inputs as sizes_of_inputs
from camport.export.passes.weighted_sums import weighted_sums as weighted_sums

BEFORE = (
    plain_softmax,  # before its guard is lowered
    fold_batch_norm,  # before the backward passes of both are
    bare_matmul,  # while the expansion of the matrix stands before its product
    views_to_reshapes,  # last: what is lowered next has other strides
)
"""Passes that must see backward operators as they were recorded."""

AFTER = (
    remove_copies,  # first: a copy hides what follows from every pattern
    views_to_reshapes,  # those of rules; all that follow look for reshapes
    remove_unit_factors,  # the seed of a gradient, before what is expanded from it
    expand_late,
    onehot_to_gather,  # the row of the last layer, before it is taken for a product of rows
    remove_identities,  # two reshapes become one, which the next ones look for
    sizes_of_inputs,  # sizes of intermediates that products of rows would keep alive
    flat_products_to_rows,
    remove_identities,  # what is left of the reshapes around them
    sparse_rows,  # follows tokens through products of rows
    slice_pushdown,  # likewise, once the zeros are gone
    pads_to_concat,  # what padding is left
    weighted_sums,
    exact_sigmoid,
    merge_duplicates,  # what the others made twice
    selects_to_squeezes,
    counts_to_products,  # last: others read sizes
)
"""Passes over the lowered, functional graph."""
