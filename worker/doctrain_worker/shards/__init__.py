"""The shards that a worker holds: delivered, run document by document, reported, and handed back or acked."""
