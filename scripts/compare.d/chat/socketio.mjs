// The chat of Socket.IO's tutorial: who says something, says it to all.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"] });
io.on("connection", (socket) => socket.on("say", (text) => io.emit("said", `Ada: ${text}`)));
http.listen(0, "127.0.0.1", () => console.log(`listening on ws://127.0.0.1:${http.address().port}`));
