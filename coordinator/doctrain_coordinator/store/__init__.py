"""Postgres as the source of truth: schema, migrations and every SQL statement by name."""
