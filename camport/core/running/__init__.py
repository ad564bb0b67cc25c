"""How a model is run: its layers, what came out of them, and derivatives of the score."""
