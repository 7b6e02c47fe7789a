"""Postgres as the source of truth: the schema, and how a database gets it."""
