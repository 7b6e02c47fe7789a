"""The part of the scripted service that is about documents at once."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from doctrain.v1 import fleet_pb2, fleet_pb2_grpc


class ScriptedConcurrency(fleet_pb2_grpc.FleetServiceServicer):
    """``concurrency`` is what it answers."""

    def __init__(self) -> None:
        self.concurrency = fleet_pb2.GetConcurrencyResponse()

    async def _enter(self, method: str, request: Message | None, context: Any) -> None:
        raise NotImplementedError

    async def GetConcurrency(self, request: fleet_pb2.GetConcurrencyRequest, context: Any) -> fleet_pb2.GetConcurrencyResponse:
        await self._enter("GetConcurrency", request, context)
        return self.concurrency

    async def SetConcurrency(self, request: fleet_pb2.SetConcurrencyRequest, context: Any) -> fleet_pb2.SetConcurrencyResponse:
        await self._enter("SetConcurrency", request, context)
        return fleet_pb2.SetConcurrencyResponse()

    async def ClearConcurrency(self, request: fleet_pb2.ClearConcurrencyRequest, context: Any) -> fleet_pb2.ClearConcurrencyResponse:
        await self._enter("ClearConcurrency", request, context)
        return fleet_pb2.ClearConcurrencyResponse()
