"""What a document's text is made of, and where it is cut. Pure: no I/O, no clock, no randomness."""
