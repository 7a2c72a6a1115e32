"""TLS by files."""

import ssl
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import httpx2
import pytest

from afterview.configs import ConfigError
from tests.support.service import ServiceHere, record_camera

NEED_OPENSSL = pytest.mark.skipif(which("openssl") is None, reason="openssl makes the certificate")


@NEED_OPENSSL
def test_the_service_speaks_tls(tiny: Any, tmp_path: Path) -> None:
    certificate, key, memory = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "memory"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost",         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    record_camera(memory, "yard", tiny, 3)
    http = {"tls": {"certificate": str(certificate), "key": str(key)}}
    with ServiceHere(memory, tiny, http=http, verify=ssl.create_default_context(cafile=str(certificate))) as service:
        assert service.url.startswith("https://127.0.0.1:")
        assert service.client.get("/health/live").status_code == 200
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{service.url.replace('https', 'http')}/health/live", timeout=5)
    for wrong in ({"certificate": str(key), "key": str(key)}, {"certificate": str(certificate)}):
        with pytest.raises(ConfigError, match=r"http\.tls"), ServiceHere(memory, tiny, http={"tls": wrong}):
            pass
