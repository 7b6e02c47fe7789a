"""The worker: takes shards, processes their documents in children, reports."""
