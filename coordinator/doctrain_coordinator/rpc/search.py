"""SearchService: authorise (done before), validate, translate, call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from doctrain.v1 import search_pb2 as pb
from doctrain.v1 import search_pb2_grpc
from doctrain_coordinator.core.common_words import telling
from doctrain_coordinator.core.snippets import snippet
from doctrain_coordinator.rpc import deeds
from doctrain_coordinator.rpc.caller import CALLER
from doctrain_coordinator.rpc.search_requests import check_delete, delete_position, wanted
from doctrain_coordinator.search.deleting import Deleting
from doctrain_coordinator.search.searching import Hit, Searching

LONG_TEXT = 4096
"""Characters; a longer passage is looked at aside: others should not wait for it."""


@dataclass(frozen=True, slots=True)
class SearchParts:
    """What the service needs."""

    searching: Searching
    deleting: Deleting


class SearchService(search_pb2_grpc.SearchServiceServicer):
    """What tenants call to find what was trained."""

    def __init__(self, parts: SearchParts) -> None:
        self._parts = parts

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        tenant, asked, searching = CALLER.get().tenant, wanted(request), self._parts.searching
        found = await searching.search(tenant, asked)
        unknown = await searching.unknown(tenant, asked.filter)
        words = frozenset(telling(found.words))
        hits = []
        for hit in found.hits:
            aside = len(hit.text) > LONG_TEXT
            hits.append(await asyncio.to_thread(_hit, hit, words) if aside else _hit(hit, words))
            await asyncio.sleep(0)  # workers' heartbeats are answered on this loop, too
        return pb.SearchResponse(
            hits=hits,
            unknown_training_task_ids=unknown.task_ids,
            unknown_document_ids=unknown.document_ids,
        )

    async def DeleteDocuments(self, request: pb.DeleteDocumentsRequest, context: Any) -> pb.DeleteDocumentsResponse:
        rest, deleting = check_delete(request), self._parts.deleting
        of = f" of training {request.training_task_id}" if request.training_task_id else ""
        with deeds.deed(f"documents{of}") as deed:
            if request.training_task_id:
                deleted = await deleting.of_training(request.training_task_id, deed, rest)
            else:
                deleted = await deleting.documents(request.document_ids, deed, rest)
            if deed.sentence:
                more = ", and more remain" if deleted.rest else ""
                deed.sentence = f"Documents{of} deleted from the index: {deleted.count:,}{more}"
        return pb.DeleteDocumentsResponse(
            deleted_count=deleted.count,
            complete=deleted.rest is None,
            deleted_document_ids=deleted.ids,
            resume_position=delete_position(request, deleted.rest) if deleted.rest else "",
        )

    async def GetIndex(self, request: pb.GetIndexRequest, context: Any) -> pb.GetIndexResponse:
        size = await self._parts.searching.size(CALLER.get().tenant)
        response = pb.GetIndexResponse(
            document_count=size.documents, chunk_count=size.chunks, stale_document_count=size.stale, model=size.model
        )
        if size.updated_at is not None:
            response.update_time.FromDatetime(size.updated_at)
        return response


def _hit(hit: Hit, words: Collection[str]) -> pb.SearchHit:
    shown = snippet(hit.text, words)
    return pb.SearchHit(
        document_id=hit.document_id,
        training_task_id=hit.task_id,
        part=hit.part,
        page=hit.page or 0,
        heading=hit.heading,
        snippet=shown.text,
        snippet_matches=[pb.TextRange(start=start, end=end) for start, end in shown.matches],
        text=hit.text,
        score=hit.score,
        range=pb.TextRange(start=hit.start_offset, end=hit.end_offset),
        metadata=json.loads(hit.metadata),
        media_type=hit.media_type,
    )
