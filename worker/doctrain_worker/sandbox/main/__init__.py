"""What runs in the worker's main process: its link to the guardian, how children are shut in, and calls to them."""
