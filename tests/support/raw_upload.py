"""Send a video to the API over a plain connection, block by block: nothing of a client library in
between.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable

HEAD = b'--muster\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
TAIL = b"\r\n--muster--\r\n"
CONTENT_TYPE = "multipart/form-data; boundary=muster"


def post_video(port: int, blocks: Iterable[bytes], size_bytes: int) -> tuple[int, bytes]:
    """Send blocks as the one file of a form.

    Args:
        port: Of the API on loopback.
        blocks: The file's content.
        size_bytes: Its declared size.

    Returns:
        Status and body of the answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.putrequest("POST", "/api/v1/jobs")
        connection.putheader("Content-Type", CONTENT_TYPE)
        connection.putheader("Content-Length", str(len(HEAD) + size_bytes + len(TAIL)))
        connection.endheaders(HEAD)
        for block in blocks:
            connection.send(block)
        connection.send(TAIL)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
