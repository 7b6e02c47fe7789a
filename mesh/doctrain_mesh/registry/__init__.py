"""The registry's two adapters: etcd, and an in-process stand-in."""
