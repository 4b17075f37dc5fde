"""A hello server on Python websockets, for our clients to talk to.

    python hello.py [--tls PEM] [--linger] [--impatient] [--deflate PARAMETERS]

It runs under websockets 10.4 and under the newest release. The handler returns after the
greeting, so that the library closes the connection; with --linger it waits instead until
the client has closed. Either way it says the close code that came from the client. With
--impatient it pings often, and does not wait long for the answer.
"""

import argparse
import asyncio
import json
import ssl

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


def say(line):
    print(line, flush=True)


async def tell_close(websocket):
    await websocket.wait_closed()
    say(f"closed {websocket.close_code}")


async def main(tls, linger, impatient, deflate):
    reports = []

    async def hello(websocket):
        # A task of its own: it outlives the handler, and the connection.
        reports.append(asyncio.create_task(tell_close(websocket)))
        name = await websocket.recv()
        say(f"< {name}")
        greeting = f"Hello {name}!"
        await websocket.send(greeting)
        say(f"> {greeting}")
        if linger:
            await websocket.wait_closed()

    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
    # One address only: a client that was given `localhost` has to find it.
    pings = {"ping_interval": 0.3, "ping_timeout": 3} if impatient else {}
    options = {}
    if deflate is not None:
        options = {"compression": None, "extensions": [ServerPerMessageDeflateFactory(**json.loads(deflate))]}
    async with websockets.serve(hello, "127.0.0.1", 0, ssl=context, **pings, **options) as server:
        port = server.sockets[0].getsockname()[1]
        say(f"listening on {'wss' if tls else 'ws'}://127.0.0.1:{port}")
        await asyncio.Future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls")
    parser.add_argument("--linger", action="store_true")
    parser.add_argument("--impatient", action="store_true")
    parser.add_argument("--deflate", help="the parameters of its compression, as JSON")
    asyncio.run(main(**vars(parser.parse_args())))
