"""A WebSocket client on Python websockets that does what it is told, line by line.

    python asyncio_client.py URL [--ca PEM]

It is written to the part of the API that websockets 10.4 and the newest release share,
`websockets.connect`: under 10.4 that is the original implementation, under the newest
release the one that took its place. All three clients in this folder speak alike:

    stdin   {"text": …}  {"binary": …}  {"ping": true}  {"close": true}
    stdout  {"open": true}  {"text": …}  {"binary": …}  {"pong": true}
            {"closed": CODE}  {"failed": "why there is no connection"}
"""

import argparse
import asyncio
import json
import ssl
import sys

import websockets


def tell(**event):
    print(json.dumps(event), flush=True)


async def obey(websocket):
    """Carry out what comes on stdin; its end closes the connection."""
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
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


async def main(url, ca):
    # With a `cafile` this context trusts that file alone, else the system's authorities.
    # The host name is checked either way.
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    try:
        websocket = await websockets.connect(url, ssl=context)
    except Exception as error:
        return tell(failed=f"{type(error).__name__}: {error}")
    tell(open=True)
    commands = asyncio.create_task(obey(websocket))
    try:
        async for message in websocket:
            if isinstance(message, str):
                tell(text=message)
            else:
                tell(binary=message.hex())
    except websockets.ConnectionClosed:
        pass
    tell(closed=websocket.close_code)
    commands.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ca")
    asyncio.run(main(**vars(parser.parse_args())))
