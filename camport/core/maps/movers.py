"""Functions of PyTorch, by name, that move the values of a tensor about."""


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


WHOLE = _named("flip fliplr flipud roll rot90 permute transpose movedim moveaxis")
"""Those that move whole axes: coordinates need not be repeated along axes on which they do not
depend."""

JOINING = _named("cat concat concatenate stack")
"""Those that join tensors along an axis."""

MOVING = (
    WHOLE
    | JOINING
    | _named(
        "t adjoint swapaxes swapdims transpose_ swapaxes_ swapdims_ t_ squeeze_ unsqueeze_ T mT"
        " H mH"
    )
    | _named(
        "__getitem__ __setitem__ narrow select index_select take_along_dim gather diagonal"
        " unbind pad"
    )
    | _named(
        "chunk unsafe_chunk split unsafe_split split_with_sizes tensor_split hsplit vsplit dsplit"
    )
    | _named("hstack vstack dstack view reshape flatten unflatten ravel unfold view_as reshape_as")
    | _named("expand expand_as broadcast_to repeat tile repeat_interleave squeeze unsqueeze")
    | _named("pixel_shuffle pixel_unshuffle channel_shuffle grid_sample")
)
"""Those whose results are values of their arguments, elsewhere."""

REDUCING = _named("mean sum amax amin max min std var norm logsumexp prod median nanmean")
"""Those that may take axes away."""

MATRICES = _named(
    "matmul __matmul__ __rmatmul__ bmm mm einsum baddbmm addbmm addmm tensordot outer fold"
)
"""Those that add up values of any place."""

PRODUCTS = _named("matmul __matmul__ __rmatmul__ bmm mm einsum")
"""Those of them of which it is known which axes of the arguments are summed over."""

SCATTERING = _named(
    "scatter scatter_ scatter_add scatter_add_ index_put index_put_ index_add index_add_ index_copy"
    " index_copy_ masked_scatter masked_scatter_ masked_select as_strided sort topk argsort take"
    " put_ numpy"
)
"""Those that are not followed."""

INDEXED = _named("__getitem__ __setitem__ index_select gather take_along_dim grid_sample")
"""Those that take further tensors, which may tell where to."""

READING = _named(
    "__bool__ __int__ __float__ __index__ __complex__ __contains__ __array__ item tolist numpy"
    " equal allclose is_nonzero nonzero argwhere unique masked_select"
)
"""Those that read values of a tensor, by which a program may decide what it does."""
