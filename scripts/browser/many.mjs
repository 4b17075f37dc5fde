// Several counter-servers on one Redis, behind nginx, in a real browser.
//
//   node many.mjs FOLDER-OF-THE-SERVERS NGINX.CONF
//
// The servers must be built with --features redis. Needs redis-server and nginx besides what
// test.mjs needs; the configuration is the one that the README shows, on other ports.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { join, resolve } from "node:path";
import { NO_SERVER, run, shows, test, until } from "./harness.mjs";

const [bin, config] = process.argv.slice(2);
if (!config) {
  console.error("usage: node many.mjs FOLDER-OF-THE-SERVERS NGINX.CONF");
  process.exit(2);
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const answers = (port) => until(`port ${port}`, () => new Promise((resolve) => {
  const socket = createConnection({ port, host: "127.0.0.1" });
  socket.once("connect", () => { socket.destroy(); resolve(true); });
  socket.once("error", () => resolve(false));
}), true);

// One command to Redis, and its answer as it comes over the wire.
const ask = (port, ...words) => new Promise((resolve, reject) => {
  const socket = createConnection({ port, host: "127.0.0.1" });
  socket.setEncoding("utf8").once("data", (text) => { socket.destroy(); resolve(text); });
  socket.once("error", reject);
  socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
});

async function startRedis(t, port) {
  const redis = t.program("redis-server", "--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--dir", t.folder);
  await answers(port);
  return redis;
}

// Redis, two servers, and nginx before them; `adapt` may change the configuration.
async function house(t, { flags = [], adapt = (text) => text } = {}) {
  const redisPort = await freePort(), port = await freePort();
  const redis = await startRedis(t, redisPort);
  const sharing = ["--redis", `redis://127.0.0.1:${redisPort}/`, "--redis-heartbeat", "1", ...flags];
  const nodes = [await t.server("counter-server", "127.0.0.1:0", ...sharing), await t.server("counter-server", "127.0.0.1:0", ...sharing)];

  const folder = join(t.folder, `nginx-${port}`);
  mkdirSync(folder);
  const change = (text, from, to) => {
    assert.ok(text.includes(from), `nginx.conf does not say ${from}`);
    return text.replace(from, to);
  };
  let site = readFileSync(config, "utf8");
  site = change(site, "listen 8080", `listen 127.0.0.1:${port}`);
  site = change(site, "127.0.0.1:7001", nodes[0].address);
  site = change(site, "127.0.0.1:7002", nodes[1].address);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder};`).join(" ");
  writeFileSync(join(folder, "nginx.conf"), `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
    events {} http { access_log off; ${temporary} ${adapt(site, change)} }`);
  t.program("nginx", "-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr");
  await answers(port);
  return { redis, redisPort, nodes, url: `http://127.0.0.1:${port}/` };
}

test("many: two browsers on two servers behind nginx share the value and the number of users", async (t) => {
  const { redisPort, url } = await house(t);
  const one = await t.page(url), two = await t.page(url);
  for (const page of [one, two]) await shows(page, ".online", "2 users online");
  // One on each server.
  const nodes = await ask(redisPort, "HVALS", "{counter}:nodes");
  assert.deepEqual(nodes.match(/^\d+(?= \d)/gm), ["1", "1"]);
  for (let n = 1; n <= 5; n += 1) {
    await (n % 2 ? one : two).locator(".plus").click();
    for (const page of [one, two]) await shows(page, ".value", `${n}`);
  }
});

test("many: a killed server's browser goes on at the other one, and the users are right", async (t) => {
  t.expectConsole(NO_SERVER);
  const { nodes, url } = await house(t);
  const pages = [await t.page(url), await t.page(url), await t.page(url), await t.page(url)];
  for (const page of pages) await shows(page, ".online", "4 users online");
  await pages[0].locator(".plus").click();
  for (const page of pages) await shows(page, ".value", "1");
  await nodes[0].stop("SIGKILL");
  for (const page of pages) {
    await shows(page, ".status", "Connected");
    await shows(page, ".online", "4 users online");
  }
  await pages[0].locator(".minus").click();
  for (const page of pages) await shows(page, ".value", "0");
});

test("many: while Redis is away the pages stay connected and say so, and go on when it is back", async (t) => {
  const { redis, redisPort, url } = await house(t);
  const one = await t.page(url), two = await t.page(url);
  await one.locator(".plus").click();
  for (const page of [one, two]) await shows(page, ".value", "1");
  await redis.stop("SIGKILL");
  for (const page of [one, two]) {
    await shows(page, ".notice", /^the shared counter is unreachable; this value/);
    await shows(page, ".status", "Connected");
  }
  await one.locator(".plus").click();
  await shows(one, ".notice", "the shared counter is unreachable; try again");
  await shows(one, ".value", "1");
  await startRedis(t, redisPort);
  // Without its data: the true state is 0.
  for (const page of [one, two]) {
    await shows(page, ".value", "0", 2_000);
    await shows(page, ".notice", "");
  }
  await two.locator(".minus").click();
  for (const page of [one, two]) await shows(page, ".value", "-1");
});

test("many: pings keep a quiet connection from being cut by nginx, and without them it is cut", async (t) => {
  t.expectConsole(NO_SERVER);
  const adapt = (site, change) => change(site, "proxy_read_timeout 60s", "proxy_read_timeout 2s");
  for (const [interval, cut] of [["1", false], ["0", true]]) {
    const { url } = await house(t, { flags: ["--ping-interval", interval], adapt });
    const page = await t.page(url);
    await shows(page, ".status", "Connected");
    const lost = page.evaluate(() => new Promise((resolve) => {
      new MutationObserver(() => resolve(true)).observe(document.querySelector(".status"), { childList: true });
      setTimeout(() => resolve(false), 5_000);
    }));
    assert.equal(await lost, cut, `with --ping-interval ${interval}`);
  }
});

await run({ bin: resolve(bin), web: "web" });
