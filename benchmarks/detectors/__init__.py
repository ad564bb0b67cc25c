"""Detectors as their packages build them, and the maps of their detections."""
