// The server of hello.py once more, on Node ws.
//
//     node hello.cjs [--tls PEM] [--linger] [--deflate PARAMETERS]

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { parseArgs } = require("node:util");
const { WebSocketServer } = require("ws");
const { deflateOptions } = require("../deflate.cjs");

const { values } = parseArgs({
  options: { tls: { type: "string" }, linger: { type: "boolean" }, deflate: { type: "string" } },
});

const pem = values.tls && fs.readFileSync(values.tls);
const server = pem ? https.createServer({ cert: pem, key: pem }) : http.createServer();

new WebSocketServer({ server, perMessageDeflate: deflateOptions(values.deflate, false) }).on("connection", (websocket) => {
  websocket.on("close", (code) => console.log(`closed ${code}`));
  websocket.on("message", (data) => {
    const name = data.toString();
    console.log(`< ${name}`);
    const greeting = `Hello ${name}!`;
    websocket.send(greeting);
    console.log(`> ${greeting}`);
    if (!values.linger) websocket.close(1000);
  });
});

server.listen(0, "127.0.0.1", () =>
  console.log(`listening on ${pem ? "wss" : "ws"}://127.0.0.1:${server.address().port}`),
);
