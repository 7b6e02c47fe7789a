"""The parts of a mesh as processes of their own: settings, telemetry, adapters, signals."""
