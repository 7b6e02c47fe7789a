"""Pure decisions of the worker about its sessions, its shards and what failed: no I/O, no clock, no randomness."""
