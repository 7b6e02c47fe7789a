"""Composition above both services: one program for every part, and the embedded mesh that runs them all in one process."""
