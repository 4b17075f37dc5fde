// The client of asyncio_client.py once more, on Node ws.
//
//     node node_client.cjs URL [--ca PEM] [--deflate PARAMETERS]
//
// Its lines on stdin and stdout are those of python_client.py.

const fs = require("node:fs");
const readline = require("node:readline");
const { parseArgs } = require("node:util");
const WebSocket = require("ws");
const { deflateOptions } = require("../deflate.cjs");

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { ca: { type: "string" }, deflate: { type: "string" } },
});

const tell = (event) => console.log(JSON.stringify(event));

const websocket = new WebSocket(positionals[0], {
  // A `ca` takes the place of Node's own authorities.
  ca: values.ca && fs.readFileSync(values.ca),
  perMessageDeflate: deflateOptions(values.deflate),
});

let opened = false;
websocket.on("open", () => {
  opened = true;
  tell({ open: websocket.extensions.split(",").filter(Boolean) });
  const commands = readline.createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    const command = JSON.parse(line);
    if ("text" in command) websocket.send(command.text);
    else if ("binary" in command) websocket.send(Buffer.from(command.binary));
    else if ("ping" in command) websocket.ping();
    else if ("close" in command) websocket.close(1000);
  });
  commands.on("close", () => websocket.close(1000));
});
websocket.on("message", (data, isBinary) =>
  tell(isBinary ? { binary: data.toString("hex") } : { text: data.toString() }),
);
websocket.on("pong", () => tell({ pong: true }));
websocket.on("error", (error) => {
  if (!opened) tell({ failed: `${error.code}: ${error.message}` });
});
websocket.on("close", (code) => {
  if (opened) tell({ closed: code });
  process.exit();
});
