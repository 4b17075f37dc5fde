// What the cases in test.mjs stand on: real servers, stand-in servers, browser pages, and the
// runner that gives each case its own, watches their consoles and takes everything down again.

import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { chromium } from "playwright-core";
import { WebSocketServer } from "ws";

const CASE_LIMIT = 45_000;
const TOTAL_LIMIT = 240_000;

// Reads again and again until what is read is as wanted: a value, a pattern or a condition.
export async function until(what, read, wanted, limit = 8_000) {
  const fits = wanted instanceof RegExp ? (seen) => wanted.test(seen)
    : typeof wanted === "function" ? wanted
    : (seen) => seen === wanted;
  const end = Date.now() + limit;
  for (;;) {
    const seen = await read();
    if (fits(seen)) return seen;
    if (Date.now() > end) {
      const wish = typeof wanted === "function" ? "" : `, not ${inspect(wanted)}`;
      throw new Error(`${what} is ${inspect(seen)}${wish}, after ${limit / 1_000} s`);
    }
    await sleep(25);
  }
}

// Waits until an element's text is as wanted.
export const shows = (page, selector, wanted, limit) =>
  until(selector, () => page.locator(selector).textContent(), wanted, limit);

// What Chromium writes while there is no server, and when a page gives up on a silent one.
export const NO_SERVER = /WebSocket connection to 'ws:.*' failed:/;

function within(limit, what, promise) {
  const timer = new AbortController();
  const late = sleep(limit, undefined, { signal: timer.signal })
    .then(() => { throw new Error(`${what} took more than ${limit / 1_000} s`); });
  late.catch(() => {}); // Aborted, or already reported.
  return Promise.race([promise, late]).finally(() => timer.abort());
}

// --- Servers ------------------------------------------------------------------------------

// Every process started here, so that none is left behind however this program ends.
const children = new Set();

function startProgram(name, path, args, folder) {
  const child = spawn(path, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  const program = { name, child, stdout: "", stderr: "", stopping: false };
  program.exited = new Promise((resolve) => {
    child.once("exit", resolve);
    child.once("error", resolve);
  }).then(() => children.delete(child));
  child.stdout.setEncoding("utf8").on("data", (text) => { program.stdout += text; });
  child.stderr.setEncoding("utf8").on("data", (text) => { program.stderr += text; });
  program.stop = async (signal = "SIGKILL") => {
    program.stopping = true;
    child.kill(signal);
    await within(15_000, `the end of ${name}`, program.exited);
  };
  return program;
}

function startServer(bin, name, args, folder) {
  const server = startProgram(name, join(bin, name), args, folder);
  const { child } = server;
  const listening = new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`${name}: ${error.message}`)));
    child.once("exit", (code, signal) => reject(new Error(
      `${name} ended (${signal ?? code}) before it listened: ${server.stderr.trim()}`)));
    child.stdout.on("data", () => {
      const line = /^listening on ws(s?):\/\/(.+):(\d+)$/m.exec(server.stdout);
      if (!line) return;
      server.port = Number(line[3]);
      server.address = `${line[2]}:${line[3]}`;
      server.url = `http${line[1]}://${server.address}/`;
      resolve(server);
    });
  });
  server.ready = within(10_000, `the start of ${name}`, listening);
  server.ready.catch(() => {}); // Whoever awaits it hears of it.
  return server;
}

// A server that says what a test wants to hear: serves `page` and gives each socket to `talk`.
function startFake(page, talk) {
  const http = createServer((request, response) => {
    response.writeHead(request.url === "/" ? 200 : 404, { "Content-Type": "text/html; charset=utf-8" });
    response.end(request.url === "/" ? page : "");
  });
  const sockets = new WebSocketServer({ server: http });
  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    talk(socket);
  });
  const fake = {
    sockets: sockets.clients,
    stop: async () => {
      for (const socket of sockets.clients) socket.terminate();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
  return new Promise((resolve, reject) => {
    http.once("error", reject);
    http.listen(0, "127.0.0.1", () => {
      fake.url = `http://127.0.0.1:${http.address().port}/`;
      resolve(fake);
    });
  });
}

// Whether something listens on `port`, by either family.
async function taken(port) {
  const answers = await Promise.all(["127.0.0.1", "::1"].map((host) => new Promise((resolve) => {
    const probe = connect({ host, port });
    probe.once("connect", () => { probe.destroy(); resolve(true); });
    probe.once("error", () => resolve(false));
  })));
  return answers.includes(true);
}

// --- Browser ------------------------------------------------------------------------------

// Without these flags a browser calls home at every start, and where there is no way out it
// waits for that. Playwright gives each one a new user-data directory.
const launch = (...more) => chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  timeout: 30_000,
  handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false,
  args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", ...more],
});

// --- The runner ---------------------------------------------------------------------------

const cases = [];
export const test = (sentence, body) => cases.push({ sentence, body });

export async function run({ bin, web, only }) {
  let passed = 0, failed = 0, ending = false, browser;
  // Where the servers run, so that a certificate that one of them makes goes away with it.
  const folder = mkdtempSync(join(tmpdir(), "browser-test-"));
  mkdirSync(join(folder, "certs"));

  const end = async (why) => {
    if (ending) return;
    ending = true;
    if (why) console.log(`not ok - ${why}`);
    if (why) failed += 1;
    await Promise.race([browser?.close().catch(() => {}), sleep(5_000, undefined, { ref: false })]);
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed === 0 ? 0 : 1);
  };
  process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.once(signal, () => end(`the tests were ended by ${signal}`));
  }
  setTimeout(() => end(`the tests took more than ${TOTAL_LIMIT / 1_000} s`), TOTAL_LIMIT).unref();

  try {
    browser = await launch();
  } catch (error) {
    return end(`Chromium does not start: ${oneLine(error)}`);
  }

  for (const { sentence, body } of cases) {
    if (only && !sentence.includes(only)) continue;
    const t = givenTo(browser, { bin, web, folder });
    try {
      await within(CASE_LIMIT, "it", body(t));
      t.check();
      if (ending) return;
      passed += 1;
      console.log(`ok - ${sentence}`);
    } catch (error) {
      if (ending) return;
      failed += 1;
      console.log(`not ok - ${sentence}: ${oneLine(error)}`);
      for (const { name, stderr } of t.servers) {
        for (const line of stderr.trim().split("\n").slice(-5)) console.log(`#   ${name}: ${line}`);
      }
    } finally {
      await t.takeDown();
    }
  }
  await end();
}

const oneLine = (error) => String(error?.message ?? error)
  .replace(/\u001b\[\d*m/g, "").replace(/\s+/g, " ").trim().slice(0, 500);

// What a case may use. All of it ends with the case.
function givenTo(browser, { bin, web, folder }) {
  const servers = [], undo = [], problems = [], expected = [];

  const t = {
    servers,
    folder,

    // The source of a page, and its address as a file.
    source: (name) => readFileSync(join(web, name), "utf8"),
    file: (name) => new URL(`file://${join(web, name)}`).href,

    async server(name, ...args) {
      const server = startServer(bin, name, args, folder);
      servers.push(server);
      return server.ready;
    },

    // Another program, found on the PATH.
    program(name, ...args) {
      const program = startProgram(name, name, args, folder);
      servers.push(program);
      return program;
    },

    // A page opened as a file looks for its server on a fixed port.
    async needPort(port) {
      if (await taken(port)) throw new Error(`port ${port} is taken, and a page opened as a file needs it`);
    },

    async fake(page, talk) {
      const fake = await startFake(t.source(page), talk);
      undo.push(fake.stop);
      return fake;
    },

    // A new window (tabs of one `context` share it), at `url`.
    async page(url, { context, init, ...options } = {}) {
      if (!context) context = await t.context(browser, options);
      const page = await context.newPage();
      page.on("console", (message) => {
        if (["error", "warning", "assert"].includes(message.type())) problems.push(message.text());
      });
      page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));
      page.on("crash", () => problems.push("the page crashed"));
      if (init) await init(page);
      if (url) await page.goto(url);
      return page;
    },

    async context(from = browser, options = {}) {
      const context = await from.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      context.setDefaultTimeout(8_000);
      undo.push(() => context.close());
      return context;
    },

    async browser(...flags) {
      const another = await launch(...flags);
      undo.push(() => another.close());
      return another;
    },

    // What a browser itself writes to the console when a server is away is no fault of ours.
    expectConsole: (pattern) => expected.push(pattern),
    problems,

    check() {
      const unexpected = problems.filter((text) => !expected.some((pattern) => pattern.test(text)));
      if (unexpected.length > 0) throw new Error(`the console says: ${unexpected.join(" | ")}`);
      for (const { name, child, stopping } of servers) {
        if (!stopping && (child.exitCode ?? child.signalCode) !== null) throw new Error(`${name} ended by itself`);
      }
    },

    async takeDown() {
      for (const step of undo.reverse()) await Promise.race([step().catch(() => {}), sleep(5_000, undefined, { ref: false })]);
      for (const server of servers) await server.stop().catch(() => {});
    },
  };
  return t;
}
