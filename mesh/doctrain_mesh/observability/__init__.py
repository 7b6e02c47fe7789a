"""What a process tells of itself: its log, its traces, and the absence of a part that it needs."""
