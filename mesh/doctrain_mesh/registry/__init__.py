"""The registry: what is kept in it, and its two adapters, etcd and an in-process stand-in."""
