"""The kinds of files: what each is written by, and what its reader alone computes."""
