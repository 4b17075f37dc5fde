"""The client of asyncio_client.py once more, on the threads API of Python websockets.

    python sync_client.py URL [--ca PEM]

Its lines on stdin and stdout are those of asyncio_client.py.
"""

import argparse
import json
import ssl
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def tell(**event):
    print(json.dumps(event), flush=True)


def obey(websocket):
    """Carry out what comes on stdin; its end closes the connection."""
    for line in sys.stdin:
        command = json.loads(line)
        if "text" in command:
            websocket.send(command["text"])
        elif "binary" in command:
            websocket.send(command["binary"].encode())
        elif "ping" in command:
            websocket.ping().wait()
            tell(pong=True)
        elif "close" in command:
            break
    websocket.close()


def main(url, ca):
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    try:
        websocket = connect(url, ssl=context)
    except Exception as error:
        return tell(failed=f"{type(error).__name__}: {error}")
    tell(open=True)
    threading.Thread(target=obey, args=[websocket], daemon=True).start()
    try:
        for message in websocket:
            if isinstance(message, str):
                tell(text=message)
            else:
                tell(binary=message.hex())
    except ConnectionClosed:
        pass
    tell(closed=websocket.close_code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ca")
    main(**vars(parser.parse_args()))
