"""How well maps point where the truth is known."""
