"""The stages of documents that all parts know by name; a processor of one's own may tell of any others."""

from __future__ import annotations

STAGES = ("fetch", "detect", "extract", "ocr", "chunk", "embed", "index")
WAIT = "wait"
"""What a document does while it waits for others: for a free child, or for room. It is told as a stage, and usage leaves it out."""
