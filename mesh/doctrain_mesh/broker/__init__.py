"""The broker's two adapters: RabbitMQ, and an in-process stand-in."""
