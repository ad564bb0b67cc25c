"""The task of models that answer with one row of class logits a pixel."""

from camport.adapters.segmentation.adapter import SegmentationAdapter as SegmentationAdapter
