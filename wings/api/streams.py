"""Bodies that are files: ranges, lengths, and a connection that breaks when the file does."""

import re
from collections.abc import AsyncGenerator
from urllib.parse import quote

from aiohttp import hdrs, web

from wings.backups.protocol import ByteRange, Download
from wings.errors import Damaged, InvalidInput

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


def asked_range(request: web.Request) -> ByteRange | None:
    """The single byte range asked for; ``None`` for the whole.

    Units and lists of ranges that we need not understand count as no range, and so does a condition
    (``If-Range``): there are no validators that it could be about. Raises ``InvalidInput`` for nonsense.
    """
    header = request.headers.get(hdrs.RANGE, "").replace(" ", "")
    if not header.startswith("bytes=") or "," in header or hdrs.IF_RANGE in request.headers:
        return None
    match = _RANGE.fullmatch(header)
    if match is None:
        raise InvalidInput("the Range header cannot be understood")
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(suffix=int(suffix))
    return ByteRange(int(first), int(last) if last else None)


async def send(request: web.Request, download: Download) -> web.StreamResponse:
    """Answer with the download: 200 or 206, length where it is known.

    What cannot even be begun is answered as any error. One that comes later has the connection broken
    (``translate_errors``), so that no client takes a part for the whole (W-20).
    """
    response, length = _head(download)
    chunks = aiter(download.stream)
    sent = 0
    try:
        chunk = await anext(chunks, None)  # before the headers: the most likely moment to find it damaged
        await response.prepare(request)
        while chunk is not None:
            # One ahead: a checksum that fails at the very end must still keep back the last bytes.
            following = await anext(chunks, None)
            sent += len(chunk)
            if length is not None and (sent > length or (following is None and sent < length)):
                raise Damaged(f"{sent} bytes came where {length} were announced")
            if chunk:  # an empty one would end a chunked body
                await response.write(chunk)
            chunk = following
        if length is not None and sent < length:
            raise Damaged(f"nothing came where {length} bytes were announced")
        await response.write_eof()
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
        await download.stream.aclose()
    return response


def _head(download: Download) -> tuple[web.StreamResponse, int | None]:
    response = web.StreamResponse(status=200 if download.first is None else 206)
    response.content_type = download.mime
    # Whatever a backup holds, no browser shall run it as a page of this node.
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers[hdrs.CONTENT_DISPOSITION] = _attachment(download.name)
    length = download.size
    if download.first is not None and download.last is not None:
        length = download.last - download.first + 1
        size = "*" if download.size is None else download.size
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {download.first}-{download.last}/{size}"
    if length is None:
        response.enable_chunked_encoding()
    else:
        response.headers[hdrs.ACCEPT_RANGES] = "bytes"
        response.content_length = length
    return response, length


def _attachment(name: str) -> str:
    plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
