"""What an explanation costs beside the bare forward pass,
and how well it points where the truth is known."""
