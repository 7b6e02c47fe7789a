"""Makes requests of what a caller gave, and says which of it cannot be: protobuf's own errors name no field."""

from __future__ import annotations

import reprlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from doctrain import words
from doctrain.errors import UsageError
from doctrain.v1 import fleet_pb2, search_pb2, training_pb2, usage_pb2

Fields = ParamSpec("Fields")
Made = TypeVar("Made", bound=Message)

_KINDS = {
    FieldDescriptor.CPPTYPE_STRING: ("a text", "texts"),
    FieldDescriptor.CPPTYPE_BOOL: ("True or False", "True or False"),
    FieldDescriptor.CPPTYPE_DOUBLE: ("a number", "numbers"),
    FieldDescriptor.CPPTYPE_INT32: ("a whole number of 32 bits", "whole numbers of 32 bits"),
}
MOST_PASSAGES = 100
"""That one search answers."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What the filter of a search names and the tenant does not have."""

    field: str
    """``training_task_ids`` or ``document_ids``."""
    id: str

    def __str__(self) -> str:
        return f"There is no training {self.id}." if self.field == "training_task_ids" else f"The document {self.id} is not in the index."


def made(kind: Callable[Fields, Made], /, *args: Fields.args, **fields: Fields.kwargs) -> Made:
    """A message of these fields; raises UsageError that names the one whose value it cannot have."""
    try:
        message = kind(*args, **fields)
    except (TypeError, ValueError) as error:
        for name, given in fields.items():
            if wanted := _wanted(kind, name, given):
                raise UsageError(f"{name} cannot be {reprlib.repr(given)}; give {wanted}.") from error
        raise
    for name, given in fields.items():
        # Which protobuf takes for a value that was not given.
        if given is None and not message.DESCRIPTOR.fields_by_name[name].has_presence:
            raise UsageError(f"{name} cannot be None; give {_kinds(message, name)[0]}.")
    return message


def new_training_task_id() -> str:
    """A random id that no other training has."""
    return str(uuid.uuid4())


def start_training(
    documents: Iterable[training_pb2.DocumentInput], *, numbered: training_pb2.NumberedDocuments | None, **fields: Any
) -> training_pb2.StartTrainingRequest:
    """The request; raises UsageError for a document, or numbered documents, of another type, and for an id that can be none."""
    words.check_training_task_id(fields["training_task_id"])
    _check_several("documents", documents, training_pb2.DocumentInput)
    given = list(documents)
    for place, document in enumerate(given):
        _check_type(f"documents[{place}]", document, training_pb2.DocumentInput)
    if numbered is not None:
        _check_type("numbered", numbered, training_pb2.NumberedDocuments)
    return made(training_pb2.StartTrainingRequest, documents=given, numbered=numbered, **fields)


def so_many(count: int) -> training_pb2.NumberedDocuments:
    """Documents whose bytes are nowhere, for a dry run that asks whether so many could be started."""
    return training_pb2.NumberedDocuments(uri_template=f"blob://{'0' * 64}/{{n}}/1", count=count)


def search(
    query: str, *, mode: search_pb2.SearchMode.ValueType | str, limit: int, metadata: Mapping[str, str] | None, **fields: Any
) -> search_pb2.SearchRequest:
    """The request; raises UsageError for a word that is no mode, metadata that is no text, and more passages than are answered."""
    request = made(
        search_pb2.SearchRequest,
        query=query,
        mode=words.value(search_pb2.SearchMode, "SEARCH_MODE_", mode),
        limit=limit,
        filter=made(search_pb2.SearchFilter, metadata=pairs(metadata), **fields),
    )
    if limit > MOST_PASSAGES:
        raise UsageError(f"limit: {limit:,} passages; at most {MOST_PASSAGES} are answered, and there are no further pages.")
    return request


def period(first_day: date | None, last_day: date | None) -> usage_pb2.UsagePeriod:
    """The days from the first to the last; None: as the service chooses. Raises UsageError for what is no date."""
    return usage_pb2.UsagePeriod(first_day=_day("first_day", first_day), last_day=_day("last_day", last_day))


def _day(field: str, day: date | None) -> str:
    if day is None:
        return ""
    if not isinstance(day, date):
        raise UsageError(f"{field} cannot be {day!r}; give a datetime.date.")
    return f"{day:%Y-%m-%d}"


def key(
    role: fleet_pb2.Role.ValueType | str, tenant_id: str, label: str, *, lifetime: timedelta | None, expire_time: datetime | None
) -> fleet_pb2.CreateKeyRequest:
    """The request; raises UsageError for a word that is no role, and for two ends."""
    request = made(fleet_pb2.CreateKeyRequest, role=words.value(fleet_pb2.Role, "ROLE_", role), tenant_id=tenant_id, label=label)
    if lifetime is not None and expire_time is not None:
        raise UsageError("A key has one end: give lifetime or expire_time.")
    if lifetime is not None:
        request.lifetime.FromTimedelta(lifetime)
    if expire_time is not None:
        request.expire_time.FromDatetime(expire_time)
    return request


def concurrency_subject(plan: str, tenant_id: str) -> fleet_pb2.ConcurrencySubject:
    """Whom an order is for; raises UsageError unless it is one of them."""
    if bool(plan) == bool(tenant_id):
        raise UsageError("Name a plan or a tenant, and only one of them.")
    return made(fleet_pb2.ConcurrencySubject, plan=plan) if plan else made(fleet_pb2.ConcurrencySubject, tenant_id=tenant_id)


def unknown(answer: search_pb2.SearchResponse) -> list[Unknown]:
    """What a search's filter named in vain."""
    trainings = [Unknown("training_task_ids", one) for one in answer.unknown_training_task_ids]
    return trainings + [Unknown("document_ids", one) for one in answer.unknown_document_ids]


def pairs(metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    """Metadata as it was given; raises UsageError that names the pair that is not of texts."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise UsageError(f"metadata is of type {type(metadata).__name__}; give a mapping of texts.")
    for key, value in (metadata or {}).items():
        for name, part in ((f"The key {key!r} of metadata", key), (f"metadata[{key!r}]", value)):
            if not isinstance(part, str):
                raise UsageError(f"{name} is of type {type(part).__name__}; keys and values of metadata are texts, such as {str(part)!r}.")
    return metadata or {}


def _wanted(kind: Callable[..., Message], name: str, given: object) -> str:
    """What this field of a message can be; empty when it can be what was given."""
    try:
        kind(**{name: given})
    except (TypeError, ValueError):
        one, several = _kinds(kind(), name)
        return several if isinstance(given, list) else one
    return ""


def _kinds(message: Message, name: str) -> tuple[str, str]:
    """What one value of a field is, and several."""
    return _KINDS.get(message.DESCRIPTOR.fields_by_name[name].cpp_type, ("a whole number", "whole numbers"))


def _check_several(field: str, given: object, wanted: type[object]) -> None:
    if not isinstance(given, Iterable):
        name = wanted.__name__
        raise UsageError(f"{field} is of type {type(given).__name__}; give several of {name} (from doctrain import {name}).")


def _check_type(field: str, given: object, wanted: type[object]) -> None:
    if not isinstance(given, wanted):
        raise UsageError(f"{field} is of type {type(given).__name__}; give a {wanted.__name__} (from doctrain import {wanted.__name__}).")
