"""The leader: which shards are granted, preempted and moved, and their way to the broker and back; the queue as others see it."""
