"""Tasks that answer an image with one row of numbers: scores of classes, or an embedding."""

from camport.adapters.classification.adapter import ClassificationAdapter as ClassificationAdapter
