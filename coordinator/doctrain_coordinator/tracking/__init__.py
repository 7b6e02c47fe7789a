"""What workers report and hold: their sessions, the shards they begin, their results and what is taken back from them."""
