"""Which URIs are taken, and how fast that is found out."""

from __future__ import annotations

import ipaddress
import time

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from doctrain_mesh.network import addresses
from doctrain_mesh.network.uris import MAX_URI_BYTES, BlobKey, UriRules, file_path, parse_blob, store_fault

RULES = UriRules(file_root="/srv/documents")
KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "uri",
    [
        f"blob://{KEY}",
        f"blob://{KEY}/12/345",
        "file:///srv/documents/a.pdf",
        "file:///srv/documents/folder/with space/a%20b.pdf",
        "file://localhost/srv/documents/a.pdf",
        "file:///srv/documents/x/../a.pdf",
        "file:///srv/documents/.hidden",
        "s3://bucket/key",
        "s3://my.bucket-1/a/b/ü.pdf",
        "s3://bucket/.hidden/a..b/...",
        "s3://bucket/" + "a" * 1024,
        "s3://bucket/%2e%2e/%2F/a b?c#d%",
        "s3://bucket/a\\..\\b",
        "https://example.com",
        "https://example.com:8443/a?b=c@d#e",
        "https://93.184.216.34/a",
        "https://[2606:2800:220:1::1]/a",
    ],
)
def test_taken(uri: str) -> None:
    assert RULES.reason(uri) is None


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("", "not a URI"),
        ("report.pdf", "not a URI"),
        ("ftp://example.com/x", "scheme ftp"),
        ("HTTPS://example.com/x", "scheme HTTPS"),
        ("http://example.com/x", "use https"),
        ("https://", "host"),
        ("https:///x", "host"),
        ("https://exa mple.com/x", "host"),
        ("https://münchen.de/x", "host"),
        ("https://example.com:0/x", "host"),
        ("https://example.com:99999/x", "host"),
        (f"https://{'a' * 64}.example.com/x", "host"),
        ("https://example..com/x", "host"),
        ("file:///srv/documents/" + "a" * 256, "longer than 255"),
        ("file:///srv/documents/" + "ü" * 200, "longer than 255"),
        ("https://user:secret@example.com/x", "credentials"),
        ("https://user@example.com", "credentials"),
        ("https://example.com\\@127.0.0.1/x", "credentials"),
        ("s3://key:secret@bucket/x", "credentials"),
        ("s3://bucket", "no object"),
        ("s3://bucket/", "no object"),
        ("s3://B/x", "bucket"),
        ("s3://a..b/x", "bucket"),
        ("s3://xn--a/x", "bucket"),
        ("s3://bucket/" + "a" * 1025, "longer than 1,024"),
        ("s3://bucket/" + "ü" * 600, "longer than 1,024"),
        ("s3://bucket/.", "key"),
        ("s3://bucket/..", "key"),
        ("s3://bucket/../other/x", "key"),
        ("s3://bucket/a/./b", "key"),
        ("s3://bucket/a/..", "key"),
        ("s3://bucket//a", "key"),
        ("s3://bucket/a//b", "key"),
        ("s3://bucket/a/", "key"),
        ("s3://bucket/a\x7fb", "control"),
        ("https://localhost/x", "private"),
        ("https://LOCALHOST./x", "private"),
        ("https://db.internal/x", "private"),
        ("https://intranet/x", "private"),
        ("https://127.0.0.1/x", "private"),
        ("https://2130706433/x", "private"),
        ("https://0x7f.1/x", "private"),
        ("https://10.1.2.3/x", "private"),
        ("https://169.254.169.254/latest/meta-data", "private"),
        ("https://100.64.0.1/x", "private"),
        ("https://[::1]/x", "private"),
        ("https://[fe80::1%25eth0]/x", "private"),
        ("https://[::ffff:10.0.0.1]/x", "private"),
        ("https://[64:ff9b::a00:1]/x", "private"),
        ("https://0.0.0.0/x", "private"),
        ("file:///etc/passwd", "outside"),
        ("file:///srv/documents", "outside"),
        ("file:///srv/documents/", "outside"),
        ("file:///srv/documents/../other/x", "outside"),
        ("file:///srv/documents/%2e%2e/other/x", "outside"),
        ("file:///srv/documents-of-others/x", "outside"),
        ("file://host/srv/documents/x", "absolute path"),
        ("file://srv", "absolute path"),
        ("file:///srv/documents/%00", "control"),
        ("file:///srv/documents/%ff", "UTF-8"),
        ("https://example.com/a\nb", "control"),
        ("https://example.com/\u202e", "control"),
        ("blob://x", "an upload answered"),
        (f"blob://{KEY.upper()}", "an upload answered"),
        (f"blob://{KEY}/../other", "an upload answered"),
        (f"blob://{KEY}/1", "an upload answered"),
        ("https://example.com/" + "a" * MAX_URI_BYTES, "longer"),
        ("https://example.com/" + "ü" * (MAX_URI_BYTES // 2), "longer"),
    ],
)
def test_refused_with_a_sentence(uri: str, word: str) -> None:
    reason = RULES.reason(uri)
    assert reason is not None
    assert word in reason
    assert reason.endswith(".")


def test_files_need_a_root_and_plain_http_needs_private_addresses() -> None:
    assert "switched off" in str(UriRules().reason("file:///srv/documents/x"))
    closed_network = UriRules(allow_private_addresses=True)
    for uri in ("http://localhost:8080/x", "https://10.0.0.1/x", "http://[::1]/x"):
        assert closed_network.reason(uri) is None
    assert "credentials" in str(closed_network.reason("http://a:b@localhost/x"))


@given(st.text(max_size=60))
def test_no_path_leads_out_of_the_root(tail: str) -> None:
    uri = f"file:///srv/documents/{tail}"
    if RULES.reason(uri) is None:
        path = file_path(uri)
        assert path is not None
        assert path.startswith("/srv/documents/")
        assert "/../" not in f"{path}/"


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(text: str) -> None:
    for uri in (text, f"https://{text}", f"s3://{text}", f"blob://{text}", f"file://{text}"):
        assert RULES.reason(uri) is None or str(RULES.reason(uri)).endswith(".")


@given(
    st.lists(st.sampled_from(["a", ".", "..", "/", "%2e", "\x00", "\x7f", "\x85", "ü", " ", "\\", "?", "#", "{n}"])).map("".join)
    | st.text(max_size=40)
)
def test_every_key_that_is_taken_is_one_that_the_library_of_object_stores_reads(key: str) -> None:
    if RULES.reason(f"s3://bucket/{key}") is None:
        store = MemoryStore()
        obstore.put(store, key, b"read")
        assert obstore.list(store).collect()[0]["path"] == key
        assert bytes(obstore.get(store, key).bytes()) == b"read"


def test_a_blob_uri_names_an_object_or_a_part_of_one() -> None:
    assert parse_blob(f"blob://{KEY}") == BlobKey(KEY)
    assert parse_blob(f"blob://{KEY}/7/0") == BlobKey(KEY, 7, 0)
    assert parse_blob(f"blob://{KEY}/7") is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True), ("64:ff9b::8.8.8.8", True), ("::8.8.8.8", True)),
        *(
            ("192.168.1.1", False),
            ("224.0.0.1", False),
            ("169.254.169.254", False),
            ("168.63.129.16", False),
            ("::ffff:168.63.129.16", False),
        ),
        *(("::1", False), ("fec0::1", False), ("fd00::1", False), ("2002:a00:1::", False)),
        *(("64:ff9b::10.0.0.1", False), ("64:ff9b:1::8.8.8.8", False), ("::ffff:0:10.0.0.1", False), ("::10.0.0.1", False)),
        *(("2002:808:808::", True), ("2a00::1", True), ("192.0.1.1", True), ("223.255.255.255", True)),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert addresses.is_public(ipaddress.ip_address(address)) == public


@pytest.mark.parametrize(
    "network",
    [
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/127", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001:1::/32", "2001:2::/48", "2001:10::/28", "2001:db8::/32"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    ],
)
def test_no_special_purpose_address_is_public_whatever_python_knows_of_it(network: str) -> None:
    special = ipaddress.ip_network(network)
    assert not addresses.is_public(special[0])
    assert not addresses.is_public(special[-1])
    if special.version == 4:
        assert not addresses.is_public(ipaddress.IPv6Address(f"::ffff:{special[-1]}"))


@given(st.ip_addresses(v=4))
def test_what_python_takes_for_private_is_never_public(address: ipaddress.IPv4Address) -> None:
    assert address.is_global or not addresses.is_public(address)


@pytest.mark.parametrize("text", ["host-a:7700", "10.0.0.1:1", "[::1]:65535", "a_b.example:7700"])
def test_endpoints(text: str) -> None:
    assert addresses.is_endpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":7700",
        "host:0",
        "host:65536",
        "http://host:7700",
        "dns:///host:7700",
        "unix:/x",
        "a\ud800:1",
        "[x]:1",
        "a:1\n",
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    assert not addresses.is_endpoint(text)


@pytest.mark.parametrize(
    "url", ["memory:///", "file:///srv/my%20blobs", "s3://bucket", "s3://bucket/prefix", "gs://bucket/p", "az://container/p", "abfss://c/p"]
)
def test_places_for_uploads(url: str) -> None:
    assert store_fault(url) is None


@pytest.mark.parametrize(
    "url",
    [
        *("s3a://bucket/p", "S3://bucket/p", "s3://BUCKET/p", "s3://user@bucket/p", "s3://bucket:80/p", "s3:bucket", "s3://"),
        *("https://bucket.s3.eu-north-1.amazonaws.com/p", "https://s3.eu-north-1.amazonaws.com/bucket/p", "http://minio:9000/bucket"),
        *(
            "FILE:///srv/blobs",
            "file:/srv/blobs",
            "file://localhost/srv",
            "file:///srv/%2562lobs",
            "file:///srv/%ff",
            "/srv/blobs",
            "blobs",
            "gs://a@b",
        ),
    ],
)
def test_a_place_for_uploads_that_no_rule_could_tell_from_a_tenants_is_refused(url: str) -> None:
    """An attack: with the uploads in ``s3a://bucket`` every tenant could read all of ``s3://bucket``."""
    fault = store_fault(url)
    assert fault is not None
    assert fault.endswith(".")


def test_no_uri_leads_into_the_uploads() -> None:
    for url, uri in (("s3://bucket/p", "s3://bucket/p/tenants/other/x"), ("file:///srv/my%20blobs", "file:///srv/my%20blobs/x")):
        assert store_fault(url) is None
        assert "store of uploads" in str(UriRules(file_root="/srv", blob_url=url).reason(uri))


def test_a_million_uris_of_a_manifest_are_judged_in_seconds() -> None:
    uris = [f"https://files.example.com/customers/acme/contracts/page-{n}.pdf" for n in range(20_000)]
    began = time.process_time()
    assert not any(map(RULES.reason, uris))
    assert (time.process_time() - began) / len(uris) < 5e-6  # 0.6e-6 on an idle machine


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LocalHost"])
def test_names_of_this_machine_to_itself(host: str) -> None:
    assert addresses.is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "2130706433"])
def test_names_that_others_reach_are_none_of_them(host: str) -> None:
    assert not addresses.is_loopback(host)
