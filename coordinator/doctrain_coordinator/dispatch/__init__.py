"""What the leader does: who leads, which shards are granted, and their way to the broker and back from its dead letters."""
