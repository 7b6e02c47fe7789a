"""The stages of documents that all parts know by name; a processor of one's own may tell of any others."""

from __future__ import annotations

STAGES = ("fetch", "detect", "extract", "ocr", "chunk", "embed", "index")
UNREAD = "unread"
"""The attribute of a stage that names parts of the document which could not be read, and why."""
MOST_UNREAD_LETTERS = 300
WAIT = "wait"
"""What a document does while it waits for others: for a free child, or for room. It is told as a stage, and usage leaves it out."""
