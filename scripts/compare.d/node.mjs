// The counter on Node's ws.

import { createRequire } from "node:module";

// ws is installed below target/, not beside this file.
const { WebSocket, WebSocketServer } = createRequire(`${process.cwd()}/`)("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
let value = 0;

const users = () => JSON.stringify({ type: "users", count: server.clients.size });
const state = () => JSON.stringify({ type: "state", value });

function broadcast(event) {
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(event);
  }
}

server.on("connection", (client) => {
  broadcast(users());
  client.send(state());
  client.on("message", (message) => {
    const { action } = JSON.parse(message);
    if (action === "plus") value += 1;
    else if (action === "minus") value -= 1;
    else return;
    broadcast(state());
  });
  client.on("close", () => broadcast(users()));
  client.on("error", console.error);
});

server.on("listening", () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}`);
});
