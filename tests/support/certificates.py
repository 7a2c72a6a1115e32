"""An authority, and certificates of a server at this machine and of a client, made by openssl."""

import subprocess
from pathlib import Path
from shutil import which

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_certificates(directory: Path) -> Path:
    """ca.pem, server.pem, server.key, client.pem, client.key in the directory. Skips the test without openssl."""
    if which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    made = directory / "certificates"
    made.mkdir(mode=0o700)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=made, check=True, capture_output=True)

    openssl(
        "req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    for name, extensions in (
        ("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ):
        (made / f"{name}.ext").write_text(extensions)
        openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
        (made / f"{name}.key").chmod(0o600)
    return made
