"""The reader of multipart bodies, which streams the parts in order and stores nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from core.domain.refusals import malformed_multipart
from core.errors import MalformedRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_EPILOGUE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form.

    Read `chunks` before the next part is requested, which discards the chunks that are left.
    """

    name: str
    filename: str | None
    chunks: AsyncGenerator[bytes]


class MultipartReader:
    """A form whose parts are read one after the other.

    Args:
        content_type: The request's `Content-Type`.
        body: The request's body, in pieces of any size.

    Raises:
        MalformedRequest: The type names no boundary (code `missing_boundary`).
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise MalformedRequest(
                "The Content-Type has no boundary. Let your HTTP library set this header.",
                code="missing_boundary",
            )
        self._body = body
        self._events: deque[tuple[str, bytes]] = deque()
        self._ended = False
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        try:
            self._parser = MultipartParser(boundary, self._callbacks())
        except FormParserError as error:
            raise MalformedRequest(
                f"Invalid multipart boundary: {error}.", code="missing_boundary"
            ) from error

    async def parts(self) -> AsyncGenerator[Part]:
        """Yield the parts in order.

        Raises:
            MalformedRequest: The body is not multipart (code `malformed_multipart`), or ends too
                early (`body_cut_off`).
        """
        while (event := await self._next()) is not None:
            if event[0] != "begin":
                continue  # left over from a part that was not read to its end
            _, options = parse_options_header(event[1])
            filename = options.get(b"filename")
            chunks = self._chunks()
            yield Part(
                options.get(b"name", b"").decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
                chunks,
            )
            await chunks.aclose()

    async def _chunks(self) -> AsyncGenerator[bytes]:
        while (event := await self._next()) is not None:
            if event[0] != "data":
                return
            yield event[1]

    async def _next(self) -> tuple[str, bytes] | None:
        after_end = 0
        while not self._events:
            try:
                piece = await anext(self._body)
            except StopAsyncIteration:
                if not self._ended:
                    raise MalformedRequest(
                        "The body ends in the middle of a part. Send the request again.",
                        code="body_cut_off",
                    ) from None
                return None
            except ClientDisconnect as error:
                raise MalformedRequest(
                    "The connection closed in the middle of the body.", code="body_cut_off"
                ) from error
            if self._ended:
                after_end += len(piece)
                if after_end > _MAX_EPILOGUE_BYTES:
                    raise malformed_multipart("bytes follow the last part")
            elif piece:
                self._parse(piece)
        return self._events.popleft()

    def _parse(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise malformed_multipart(str(error)) from error

    def _callbacks(self) -> MultipartCallbacks:
        def begin() -> None:
            self._headers = {}

        def field(data: bytes, start: int, end: int) -> None:
            self._field += data[start:end]

        def value(data: bytes, start: int, end: int) -> None:
            self._value += data[start:end]

        def header_end() -> None:
            self._headers[self._field.lower()] = self._value
            self._field = self._value = b""

        def headers_finished() -> None:
            self._events.append(("begin", self._headers.get(b"content-disposition", b"")))

        def data(data: bytes, start: int, end: int) -> None:
            self._events.append(("data", data[start:end]))

        def part_end() -> None:
            self._events.append(("end", b""))

        def end() -> None:
            self._ended = True

        return {
            "on_part_begin": begin,
            "on_header_field": field,
            "on_header_value": value,
            "on_header_end": header_end,
            "on_headers_finished": headers_finished,
            "on_part_data": data,
            "on_part_end": part_end,
            "on_end": end,
        }
