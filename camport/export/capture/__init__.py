"""From a function of tensors, autograd included, to one graph of ATen operators."""
