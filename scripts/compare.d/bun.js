// The counter on Bun, with its publish and subscribe.

let users = 0;
let value = 0;

const usersEvent = () => JSON.stringify({ type: "users", count: users });
const state = () => JSON.stringify({ type: "state", value });

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response("a WebSocket, please\n", { status: 426 });
  },
  websocket: {
    open(client) {
      users += 1;
      client.subscribe("counter");
      server.publish("counter", usersEvent());
      client.send(state());
    },
    message(client, message) {
      const { action } = JSON.parse(message);
      if (action === "plus") value += 1;
      else if (action === "minus") value -= 1;
      else return;
      server.publish("counter", state());
    },
    close() {
      users -= 1;
      server.publish("counter", usersEvent());
    },
  },
});

console.log(`listening on ws://127.0.0.1:${server.port}`);
