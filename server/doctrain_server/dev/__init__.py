"""The embedded mesh: everything in one process on one folder, for a laptop, a demo and most tests."""
