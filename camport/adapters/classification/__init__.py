"""Tasks that answer an image with one row of numbers: scores of classes, or an embedding."""
