"""Is it the same? Asked of the lowered graph, of each file,
and of int8 and the float32 it was made from."""
