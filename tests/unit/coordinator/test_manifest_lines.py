"""Why a line of a manifest is no document, in words of ours."""

import pytest

from doctrain_coordinator.core.manifest_lines import fault_of


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"not json", "It is not JSON (character 1)."),
        (b'{"document_id": "1", ', "It is not JSON (character "),
        (b"\xff{}", "It is not UTF-8 (byte 1)."),
        (b"[1]", "It is JSON, but not an object."),
        (b'{"uri": "s3://b/1"}', "It has no document_id."),
        (b'{"document_id": "1"}', "It has no uri."),
        (b'{"document_id": 1, "uri": "s3://b/1"}', "Its document_id is not text."),
        (b'{"document_id": "1", "uri": null}', "Its uri is not text."),
        (b'{"document_id": "1", "uri": "s3://b/1", "media_type": []}', "Its media_type is not text."),
        (
            b'{"document_id": "1", "uri": "s3://b/1", "metadata": {"year": 2026}}',
            "Its metadata is not an object whose values are all text.",
        ),
        (b'{"document_id": "1", "uri": "s3://b/1", "metadata": "x"}', "Its metadata is not an object whose values are all text."),
        (
            b'{"document_id": "1", "uri": "s3://b/1", "url": ""}',
            "It has the unknown field 'url'; a document has document_id, uri, media_type and metadata.",
        ),
        (b'{"document_id": "1", "uri": "s3://b/1"}', "It is not the JSON of a document."),
        (b"[" * 60_000, "It is not the JSON of a document."),
        (b'{"document_id": ' + b"9" * 5_000 + b"}", "It is not the JSON of a document."),
    ],
)
def test_what_is_wrong_is_said_with_what_a_line_looks_like(text: bytes, said: str) -> None:
    assert fault_of(text).startswith(said)
