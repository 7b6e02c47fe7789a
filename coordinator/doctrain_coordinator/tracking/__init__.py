"""Workers: their sessions, their health and orders; the shards they begin, their results, and what is taken back from them."""
