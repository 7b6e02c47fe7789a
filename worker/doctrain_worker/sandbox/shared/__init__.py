"""What the main process, the guardian and children share: the forms of what they say to each other, and tools of the system."""
