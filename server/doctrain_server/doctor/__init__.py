"""Looks at what the settings name, and says what is well and what is not."""
