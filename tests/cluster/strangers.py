"""Run on a machine of the cluster: prints whatever answers HTTP there to somebody without a token.

Python's own alone, for it is copied there and run: one line `OPEN PORT PATH FIRST-LINE` for each answer that is a page.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

PATHS = (
    *("/", "/api/authentication_mode", "/api/gcs_healthz", "/api/healthz", "/api/local_raylet_healthz"),
    *("/api/version", "/api/jobs/", "/api/v0/nodes", "/api/actors", "/nodes", "/logs", "/events", "/metrics"),
)


def listening() -> Iterator[tuple[str, int]]:
    """Addresses and ports at which this machine accepts connections."""
    for table, any_address in (("tcp", "00000000"), ("tcp6", "0" * 32)):
        for address, port in re.findall(
            r"^ *\d+: (\w+):(\w+) \w+:\w+ 0A ", Path(f"/proc/net/{table}").read_text(), re.M
        ):
            octets = bytes.fromhex(address[-8:])[::-1]  # an IPv4 address is at the end of an IPv6 one
            yield ("127.0.0.1" if address == any_address else ".".join(map(str, octets))), int(port, 16)


def main() -> None:
    for address, port in sorted({*listening()}):
        for path in PATHS:
            connection = http.client.HTTPConnection(address, port, timeout=10)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status == 200:
                    print("OPEN", port, path, answer.read().decode(errors="replace").partition("\n")[0][:80])
            except (OSError, http.client.HTTPException):  # speaks another protocol
                break
            finally:
                connection.close()


if __name__ == "__main__":
    main()
