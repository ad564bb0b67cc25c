"""What one kind of file, or half precision, needs of a lowered graph."""
