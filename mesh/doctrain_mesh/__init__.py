"""What the services share: ports and their adapters, errors, settings, gRPC, Postgres, telemetry."""
