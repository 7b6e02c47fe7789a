"""The gRPC services: authorise, validate, translate, call."""
