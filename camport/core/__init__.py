"""The spec and the one evaluation of a model. Light to import: its modules are imported one by one, where needed."""
