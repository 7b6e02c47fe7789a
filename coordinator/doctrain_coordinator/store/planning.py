"""How Postgres is to plan the statements of connections that live as long as their process."""

from __future__ import annotations

from collections.abc import Mapping

BY_INDEX: Mapping[str, str] = {"enable_seqscan": "off"}
"""A prepared statement is planned once for all its parameters after a few executions. Where the tables are small by then, as in a new
database, reading them whole is the cheapest plan, and the connection keeps to it until something analyses the table, however large it
has grown. Every statement of the committer's connection has an index, so the planner is told to use it from
the first row on. Where a plan for the rows at hand is cheaper, as for a report of a thousand results, it is made anew each time."""

ONCE: Mapping[str, str] = {**BY_INDEX, "plan_cache_mode": "force_generic_plan", "jit": "off"}
"""For the connections that show trainings, mostly one at a time, and for the leader's, on which the first document of every training
waits. Left to itself Postgres takes a plan for the list of one that it is given for cheaper than one for the ten that it reckons with,
and makes it anew at each execution, which takes 2 to 4 ms, longer than all that follows. Where there is no index, what that is made to
cost is no reason to compile."""
