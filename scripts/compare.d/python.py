"""The counter on Python's websockets, as its "getting started" has it."""

import asyncio
import json

from websockets.asyncio.server import broadcast, serve

USERS = set()
VALUE = 0


def users_event():
    return json.dumps({"type": "users", "count": len(USERS)})


def value_event():
    return json.dumps({"type": "state", "value": VALUE})


async def counter(websocket):
    global VALUE
    try:
        USERS.add(websocket)
        broadcast(USERS, users_event())
        await websocket.send(value_event())
        async for message in websocket:
            event = json.loads(message)
            if event["action"] == "minus":
                VALUE -= 1
                broadcast(USERS, value_event())
            elif event["action"] == "plus":
                VALUE += 1
                broadcast(USERS, value_event())
    finally:
        USERS.remove(websocket)
        broadcast(USERS, users_event())


async def main():
    async with serve(counter, "127.0.0.1", 0) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


asyncio.run(main())
