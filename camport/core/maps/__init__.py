"""The maths of maps: no model is run in here."""
