"""How the main process stands with the coordinators: its session, the stream that carries it, and what the tracker answers."""
