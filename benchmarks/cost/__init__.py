"""What an explanation costs beside the bare forward pass, and beside other libraries."""
