"""Damaged and hostile input at every door, and memory over long lives."""
