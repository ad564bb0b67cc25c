"""The task of detectors: one box and its class."""

from camport.adapters.detection.adapter import DetectionAdapter as DetectionAdapter
