"""Both sides of a comparison: the networks that are timed, bare and explained."""
