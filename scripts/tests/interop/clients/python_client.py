"""A WebSocket client on Python websockets that does what it is told, line by line.

    python python_client.py URL [--ca PEM] [--threads] [--deflate PARAMETERS]

It is written to the part of the API that websockets 10.4 and the newest release share,
`websockets.connect`: under 10.4 that is the original implementation, under the newest
release the one that took its place; with --threads it is the newest release's other API.
Both clients in this folder speak alike:

    stdin   {"text": …}  {"binary": …}  {"ping": true}  {"close": true}
    stdout  {"open": [EXTENSION, …]}  {"text": …}  {"binary": …}  {"pong": true}
            {"closed": CODE}  {"failed": "why there is no connection"}
"""

import argparse
import asyncio
import json
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


def tell(**event):
    print(json.dumps(event), flush=True)


class Threads:
    """A connection of the threads API, each call of which waits in a thread."""

    def __init__(self, websocket):
        self.websocket = websocket

    def __getattr__(self, name):
        return lambda *arguments: asyncio.to_thread(getattr(self.websocket, name), *arguments)

    async def ping(self):
        return asyncio.to_thread((await asyncio.to_thread(self.websocket.ping)).wait)

    @property
    def close_code(self):
        return self.websocket.close_code

    @property
    def protocol(self):
        return self.websocket.protocol


async def connect(url, ca, threads, deflate):
    # With a `cafile` this context trusts that file alone, else the system's authorities.
    # The host name is checked either way.
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    options = {"ssl": context}
    if deflate is not None:
        options |= {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**json.loads(deflate))]}
    if not threads:
        return await websockets.connect(url, **options)
    from websockets.sync.client import connect

    return Threads(await asyncio.to_thread(connect, url, **options))


async def obey(websocket):
    """Carry out what comes on stdin; its end closes the connection."""
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async for line in commands:
        command = json.loads(line)
        if "text" in command:
            await websocket.send(command["text"])
        elif "binary" in command:
            await websocket.send(command["binary"].encode())
        elif "ping" in command:
            await (await websocket.ping())
            tell(pong=True)
        elif "close" in command:
            break
    await websocket.close()


async def main(url, ca, threads, deflate):
    try:
        websocket = await connect(url, ca, threads, deflate)
    except Exception as error:
        return tell(failed=f"{type(error).__name__}: {error}")
    # In the original implementation, the connection is its own protocol.
    tell(open=[extension.name for extension in getattr(websocket, "protocol", websocket).extensions])
    commands = asyncio.create_task(obey(websocket))
    try:
        while True:
            message = await websocket.recv()
            tell(**({"text": message} if isinstance(message, str) else {"binary": message.hex()}))
    except websockets.ConnectionClosed:
        tell(closed=websocket.close_code)
    commands.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ca")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--deflate", help="the parameters of its offer to compress, as JSON")
    asyncio.run(main(**vars(parser.parse_args())))
