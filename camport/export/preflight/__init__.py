"""What is refused before anything is traced, and by its data types."""
