"""The part of the scripted service that searches and deletes."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from doctrain.v1 import search_pb2, search_pb2_grpc


class ScriptedSearch(search_pb2_grpc.SearchServiceServicer):
    """``hits`` are found, with what is ``unknown``; of ``index`` so many documents go with a call as are ``deleted_at_once``."""

    def __init__(self) -> None:
        self.hits: list[search_pb2.SearchHit] = []
        self.unknown: dict[str, list[str]] = {}
        self.index = search_pb2.GetIndexResponse(model="a-model")
        self.deleted_at_once = 1000

    async def _enter(self, method: str, request: Message | None, context: Any) -> None:
        raise NotImplementedError

    async def Search(self, request: search_pb2.SearchRequest, context: Any) -> search_pb2.SearchResponse:
        await self._enter("Search", request, context)
        return search_pb2.SearchResponse(hits=self.hits, **self.unknown)

    async def DeleteDocuments(self, request: search_pb2.DeleteDocumentsRequest, context: Any) -> search_pb2.DeleteDocumentsResponse:
        await self._enter("DeleteDocuments", request, context)
        count = min(self.index.document_count, self.deleted_at_once)
        self.index.document_count -= count
        complete, gone = not self.index.document_count, request.document_ids[:count]
        return search_pb2.DeleteDocumentsResponse(deleted_count=count, complete=complete, deleted_document_ids=gone)

    async def GetIndex(self, request: search_pb2.GetIndexRequest, context: Any) -> search_pb2.GetIndexResponse:
        await self._enter("GetIndex", request, context)
        return self.index
