"""etcd, one node."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from testkit.server import Server, free_port, unavailable


class EtcdServer(Server):
    """An etcd server on 127.0.0.1.

    With ``tls`` (certificate, key) it speaks nothing else to its clients; with ``of_clients`` (a CA) they need a certificate, too.
    """

    name = "etcd"

    def __init__(
        self,
        folder: Path,
        users_lock: Path,
        port: int | None = None,
        *,
        tls: tuple[Path, Path] | None = None,
        of_clients: Path | None = None,
    ) -> None:
        super().__init__(folder, users_lock, port)
        self.tls, self._of_clients = tls, of_clients
        self._peer_port, self._metrics_port = free_port(), free_port()

    @property
    def url(self) -> str:
        """As the setting ``registry_url`` takes it."""
        return f"{'etcds' if self.tls else 'etcd'}://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        program = shutil.which("etcd")
        if program is None:
            unavailable(self.name)
        clients, peers = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peer_port}"
        arguments = [
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            f"--listen-metrics-urls=http://127.0.0.1:{self._metrics_port}",
            "--heartbeat-interval=20",  # ms; an only node elects itself at once
            "--election-timeout=200",
            "--log-level=warn",
        ]
        if self.tls:
            arguments += [f"--cert-file={self.tls[0]}", f"--key-file={self.tls[1]}"]
        if self._of_clients:
            arguments += ["--client-cert-auth", f"--trusted-ca-file={self._of_clients}"]
        return [str(program), *arguments]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/health", timeout=2) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False
