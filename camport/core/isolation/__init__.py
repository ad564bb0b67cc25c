"""How the user's model and process stay as found: a private double of the model,
and what runs beside it."""
