"""The task of models that answer with one row of class logits a pixel."""
