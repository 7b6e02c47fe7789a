"""How Postgres is to plan the statements of a connection that lives as long as its process: the leader's and the committer's."""

from __future__ import annotations

from collections.abc import Mapping

BY_INDEX: Mapping[str, str] = {"enable_seqscan": "off"}
"""A prepared statement is planned once for all its parameters after a few executions. Where the tables are small by then, as in a new
database, reading them whole is the cheapest plan, and the connection keeps to it until something analyses the table, however large it
has grown. Every statement of these connections has an index, so the planner is told to use it from the first row on."""
