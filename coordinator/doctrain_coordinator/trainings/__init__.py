"""Trainings as tenants start, load, watch, pause, cancel and retry them."""
