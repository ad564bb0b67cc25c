"""Tasks of models that read or write text: captioning, and questions about an image."""
