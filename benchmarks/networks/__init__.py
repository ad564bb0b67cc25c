"""Which networks export and import, how exactly, how large."""
