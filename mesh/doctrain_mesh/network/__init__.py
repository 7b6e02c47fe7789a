"""What may be reached over the network, how it is written, and what an HTTP answer says."""
