"""Passes connections on: from the address of the Service `kubernetes` to the API server.

python -m tests.testbed.node.relay <listen address> <listen port> <target address> <target port>
"""

import asyncio
import contextlib
import sys

PIECE = 65536


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def relay(listen: tuple[str, int], target: tuple[str, int]) -> None:
    """Serve for ever."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()  # the server behind is away: so are we
            return
        try:
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        finally:
            for one in (writer, back):
                one.transport.abort()

    server = await asyncio.start_server(connected, *listen)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    address, port, target_address, target_port = sys.argv[1:]
    asyncio.run(relay((address, int(port)), (target_address, int(target_port))))
