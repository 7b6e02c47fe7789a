"""Where the registry keeps who is there: written by each part of the mesh for itself, read by the others."""

from __future__ import annotations

ROOT = "/doctrain/"
"""Before every key of a mesh's."""

WORKERS = f"{ROOT}workers/"
"""Followed by the worker's name: what it says of itself, for operators."""

COORDINATORS = f"{ROOT}coordinators/"
"""Followed by the coordinator's name: JSON with the ``address`` at which workers find it."""
