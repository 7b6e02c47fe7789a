"""Errors as a person who types commands reads them: options in the place of the fields of requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from doctrain.errors import DoctrainError, FieldViolation

_OPTIONS = {
    "training_task_id": "--id: ",
    "new_training_task_id": "--id: ",
    "manifest_uri": "--manifest: ",
    "page_size": "--limit: ",
    "limit": "--limit: ",
    "error_classes": "--class: ",
    "document_ids": "--document: ",
    "query": "QUERY: ",
    "mode": "--mode: ",
    "filter.training_task_ids": "--training: ",
    "filter.document_ids": "--document: ",
    "filter.metadata": "--metadata: ",
    "filter.media_types": "--type: ",
    "plan.name": "NAME: ",
    "plan.slots": "--slots: ",
    "plan.burst_slots": "--burst: ",
    "slots": "SLOTS: ",
    "subject.plan": "--plan: ",
    "subject.tenant_id": "--tenant: ",
    "reason": "--reason: ",
    "plan.open_trainings": "--trainings: ",
    "plan.training_documents": "--training-documents: ",
    "plan.open_documents": "--open-documents: ",
    "plan.requests_per_second": "--requests-per-second: ",
    "plan.watches": "--watches: ",
    "plan.upload_bytes": "--upload-bytes: ",
    "period.first_day": "--from: ",
    "period.last_day": "--to: ",
    "lifetime": "--days: ",
    "expire_time": "--days: ",
    "worker_id": "NAME: ",
    "within": "--within: ",
    "tenant.tenant_id": "NAME: ",
    "tenant.plan": "--plan: ",
    "tenant.weight": "--weight: ",
    "tenant_id": "--tenant: ",
    "label": "--label: ",
    "role": "--role: ",
    "states": "--state: ",
    "documents": "",
    "chunk": "",
}


def sentence(error: DoctrainError) -> str:
    """What went wrong, with a line for each field where there are several."""
    lines = [_line(violation) for violation in error.violations]
    if len(lines) == 1 and error.sentence == error.violations[0].description:
        return lines[0]
    if len(lines) == 1 and error.violations[0].description in error.sentence:
        return error.sentence
    quotas = [quota for quota in error.details.quotas if quota not in error.sentence]
    return "\n".join([error.sentence, *(f"  {line}" for line in (*lines, *quotas))])


def error_object(said: str, error: DoctrainError | None = None) -> dict[str, Any]:
    """The error for ``--json``; without ``error`` one that the command line found itself."""
    found: dict[str, Any] = {"sentence": said, "reason": "", "status": "", "violations": [], "metadata": {}, "retry_after_seconds": None}
    if error is not None:
        found["reason"] = error.reason
        found["status"] = error.status.name if error.status else ""
        found["violations"] = [{"field": violation.field, "description": violation.description} for violation in error.violations]
        found["metadata"] = dict(error.metadata)
        found["retry_after_seconds"] = error.retry_after_seconds
    return {"error": found}


def _line(violation: FieldViolation) -> str:
    field = re.sub(r"\[\d+\]$", "", violation.field)
    return f"{_OPTIONS.get(field, f'{violation.field}: ')}{violation.description}"
