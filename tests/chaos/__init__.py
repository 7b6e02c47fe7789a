"""The mesh under a nemesis: real servers and processes, seeded faults, and a checker that trusts outside evidence only.

``make chaos FAULTS=60 DOCUMENTS=20000 SEED=1`` runs it, ``make chaos-proof`` proves that it notices broken rules; docs/reliability.md
says what was found.
"""
