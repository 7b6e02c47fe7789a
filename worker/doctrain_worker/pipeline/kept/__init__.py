"""Slices that were recognised (OCR), kept as artifacts: whoever reads the same document again pays for what is left.

They are stored while the child reads on, so that of a document whose worker or child is killed nothing is lost but the last
slice; a retry, a resumed training, another worker and another chunker find them. A store that fails costs the reuse, never the document.

What a child says is not to be trusted, and a slice goes to another child later, so it is checked before it is stored and when it
comes back. It comes back for the same bytes of the same document of the same tenant only.
"""
