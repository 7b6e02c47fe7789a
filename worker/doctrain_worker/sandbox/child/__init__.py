"""What a child runs, and what plug-ins that run in one may use. Nothing here loads gRPC or a database driver."""
