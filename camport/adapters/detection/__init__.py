"""The task of detectors: one box and its class."""
