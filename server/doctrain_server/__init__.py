"""Composition above both services: one program for every part, and the embedded mesh that runs them all in one process."""

import os

# gRPC would tell on standard error of every process that is started beside it; it has to know before it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
