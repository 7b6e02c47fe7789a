"""How well documents are read: ``make quality``, for the shipped corpus or for ``SAMPLES=DIR`` (docs/quality.md)."""
