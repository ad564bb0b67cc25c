"""How each kind of file is written, and what its reader alone computes from it."""
