"""Which adapter stands behind each port, by the scheme of its URL in the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.ports import Broker, Registry
from doctrain_mesh.settings import Settings


@asynccontextmanager
async def open_broker(settings: Settings) -> AsyncIterator[Broker]:
    """The broker of ``broker_url``, closed at the end; it need not answer yet."""
    scheme = settings.broker_url.partition(":")[0]
    if scheme == "memory":
        from doctrain_mesh.broker.memory import MemoryBroker

        broker: Broker = MemoryBroker()
    elif scheme in {"amqp", "amqps"}:
        from doctrain_mesh.broker.rabbitmq import RabbitMQBroker

        broker = RabbitMQBroker(settings.broker_url, queue=settings.broker_queue)
    else:
        raise ConfigurationError("DOCTRAIN_BROKER_URL must begin with amqp://, amqps:// or be memory:.")
    try:
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def open_registry(settings: Settings) -> AsyncIterator[Registry]:
    """The registry of ``registry_url``, closed at the end; it need not answer yet."""
    scheme = settings.registry_url.partition(":")[0]
    if scheme == "memory":
        from doctrain_mesh.registry.memory import MemoryRegistry

        yield MemoryRegistry()
    elif scheme in {"etcd", "etcds"}:
        from doctrain_mesh.registry.etcd import EtcdRegistry

        own = (settings.registry_certificate, settings.registry_key) if settings.registry_certificate else None
        async with EtcdRegistry(settings.registry_url, ca_file=settings.registry_ca or None, own=own) as registry:
            yield registry
    else:
        raise ConfigurationError("DOCTRAIN_REGISTRY_URL must begin with etcd://, etcds:// or be memory:.")
