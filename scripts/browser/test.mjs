// The pages in a real browser, against the real servers.
//
//   node test.mjs FOLDER-OF-THE-SERVERS [--web FOLDER] [--screenshots FOLDER] [--only WORDS]
//
// The folder of the pages is ./web unless --web says another. Needs Chromium (/usr/bin/chromium,
// or what CHROMIUM names) and the two packages of package.json, installed beside this file.
// One line for each case, and at the end `N passed, N failed`; exit status 1 if one failed.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import tls from "node:tls";
import { parseArgs } from "node:util";
import { withHashes } from "./csp.mjs";
import { NO_SERVER, run, shows, test, until } from "./harness.mjs";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    web: { type: "string", default: "web" },
    screenshots: { type: "string" },
    only: { type: "string" },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node test.mjs FOLDER-OF-THE-SERVERS [--web FOLDER] [--screenshots FOLDER] [--only WORDS]");
  process.exit(2);
}
const bin = resolve(positionals[0]);
const web = resolve(flags.web);
for (const name of ["hello-server", "wss-server", "time-server", "counter-server"]) {
  if (!existsSync(join(bin, name))) {
    console.error(`${name} is not in ${bin}: build the workspace first (cargo build --workspace)`);
    process.exit(2);
  }
}

const ANY = "127.0.0.1:0"; // a free port
const PAGES = ["hello.html", "time.html", "counter.html"];
const HTML = `<img src=x onerror="window.pwned = true"><b>bold</b>`;
// The longest values of an i64; a JavaScript number would round them.
const LEAST = "-9223372036854775808", MOST = "9223372036854775807";

const text = (page, selector) => () => page.locator(selector).textContent();
const connected = (page, limit) => shows(page, ".status", "Connected", limit);
const greet = async (page, name) => {
  await page.getByLabel("What’s your name?").fill(name);
  await page.getByRole("button", { name: "Send" }).click();
};
const noMarkup = async (page) => {
  assert.equal(await page.evaluate(() => window.pwned), undefined, "a script from a message ran");
  assert.equal(await page.locator("img, b").count(), 0, "markup from a message became elements");
};
const noSidewaysScroll = async (page, what) => {
  const wide = await page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll("body *")]
      .filter((element) => element.tagName !== "INPUT" && element.scrollWidth > Math.max(element.clientWidth, 1) && getComputedStyle(element).display !== "inline")
      .map((element) => `${element.tagName}.${element.className} ${element.scrollWidth} > ${element.clientWidth}`));
  assert.deepEqual(wide, [], `${what}: wider than its place`);
};

// --- The counter ----------------------------------------------------------------------------

test("counter: one tab clicks by mouse, both follow", async (t) => {
  const server = await t.server("counter-server", ANY);
  const context = await t.context();
  const one = await t.page(server.url, { context }), two = await t.page(server.url, { context });
  for (const page of [one, two]) await shows(page, ".value", "0");
  for (const [button, value] of [["Plus one", "1"], ["Plus one", "2"], ["Minus one", "1"]]) {
    await one.getByRole("button", { name: button }).click();
    for (const page of [one, two]) await shows(page, ".value", value);
  }
  await two.locator(".minus").click();
  await two.locator(".minus").click();
  for (const page of [one, two]) await shows(page, ".value", "-1");
});

test("counter: Tab, Enter and Space work it too, and the focus is visible", async (t) => {
  const server = await t.server("counter-server", ANY);
  const page = await t.page(server.url), other = await t.page(server.url);
  await connected(page);
  const focused = () => page.evaluate(() => document.activeElement.className);
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "minus");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "plus");
  assert.notEqual(await page.locator(".plus").evaluate((plus) => getComputedStyle(plus).outlineStyle), "none", "no focus ring");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Space");
  for (const each of [page, other]) await shows(each, ".value", "2");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Space");
  for (const each of [page, other]) await shows(each, ".value", "1");
});

test("counter: the number of users goes up and down", async (t) => {
  const server = await t.server("counter-server", ANY);
  const one = await t.page(server.url);
  await shows(one, ".online", "1 user online");
  const two = await t.page(server.url), three = await t.page(server.url);
  for (const page of [one, two, three]) await shows(page, ".online", "3 users online");
  await two.close();
  for (const page of [one, three]) await shows(page, ".online", "2 users online");
  await three.goto("about:blank");
  await shows(one, ".online", "1 user online");
});

test("counter: the server is killed, the page says so and counts down; the server returns, so does the page, without a reload", async (t) => {
  t.expectConsole(NO_SERVER);
  const server = await t.server("counter-server", ANY);
  const page = await t.page(server.url);
  await connected(page);
  await page.locator(".plus").focus();
  await page.keyboard.press("Enter");
  await shows(page, ".value", "1");
  await page.evaluate(() => {
    window.sameDocument = true;
    window.heard = [];
    const link = document.querySelector(".link");
    new MutationObserver(() => window.heard.push(link.textContent))
      .observe(link, { childList: true, characterData: true, subtree: true });
  });

  await server.stop("SIGKILL");
  await shows(page, ".status", "Connection lost");
  for (const name of ["Plus one", "Minus one"]) {
    assert.ok(await page.getByRole("button", { name }).isDisabled(), `${name} can be clicked with no connection`);
  }
  await shows(page, ".hint", /^– next try in [34] s$/); // The third wait: 2 to 4 s.
  await shows(page, ".hint", /^– next try in 1 s$/);

  await t.server("counter-server", server.address);
  await connected(page);
  await shows(page, ".value", "0"); // A new server starts from nothing.
  assert.equal(await page.evaluate(() => window.sameDocument), true, "the page was reloaded");
  const heard = await page.evaluate(() => window.heard);
  assert.ok(heard.includes("Connection lost – trying…"), "the page never said that it is trying");
  await page.keyboard.press("Enter"); // The button that had the focus has it again.
  await shows(page, ".value", "1");
});

test("counter: a server that shuts down and is started again gets its page back", async (t) => {
  t.expectConsole(NO_SERVER);
  const server = await t.server("counter-server", ANY);
  const page = await t.page(server.url);
  await connected(page);
  await server.stop("SIGTERM");
  await shows(page, ".status", "Connection lost");
  await t.server("counter-server", server.address);
  await connected(page);
  await page.locator(".plus").click();
  await shows(page, ".value", "1");
});

test("counter: the browser comes online, or its reader returns: the next try is at once", async (t) => {
  t.expectConsole(NO_SERVER);
  let server = await t.server("counter-server", ANY);
  const page = await t.page(server.url, {
    init: (page) => page.addInitScript(() => { Math.random = () => 0.999; }), // the longest waits
  });
  for (const event of ["online", "visibilitychange"]) {
    await connected(page);
    await server.stop("SIGKILL");
    await shows(page, ".hint", /^– next try in [34] s$/); // the third wait, nearly 4 s
    server = await t.server("counter-server", server.address);
    await page.evaluate((event) => (event === "online" ? window : document).dispatchEvent(new Event(event)), event);
    await connected(page, 1_500);
  }
});

test("counter: a server that no longer answers is taken for lost, and its page returns to it", async (t) => {
  t.expectConsole(NO_SERVER);
  const server = await t.server("counter-server", ANY);
  const page = await t.page(server.url, { init: (page) => page.clock.install() });
  await connected(page);
  await shows(page, ".value", "0");
  server.child.kill("SIGSTOP");
  try {
    await page.locator(".plus").click();
    await page.clock.fastForward(9_000);
    assert.equal(await text(page, ".status")(), "Connected");
    await page.clock.fastForward(2_000);
    await shows(page, ".status", "Connection lost");
    await shows(page, ".notice", "Your last click may not have been counted.");
  } finally {
    server.child.kill("SIGCONT");
  }
  await page.clock.fastForward(15_000);
  await connected(page);
  await page.locator(".plus").click();
  await shows(page, ".notice", "");
  await shows(page, ".value", "2"); // It was counted after all.
});

test("counter: a server that hangs up on everyone is asked less and less often", async (t) => {
  let visits = 0;
  const fake = await t.fake("counter.html", (socket) => {
    visits += 1;
    socket.send(`{"type":"state","value":${visits}}`);
    socket.close(1011);
  });
  const page = await t.page(fake.url);
  await shows(page, ".hint", /^– next try in [34] s$/);
  assert.equal(visits, 3);
});

test("counter: the ends of an i64 are shown to the digit and fit a phone and a desktop", async (t) => {
  let value;
  const fake = await t.fake("counter.html", (socket) => {
    socket.send(`{"type":"users","count":1234567}`);
    socket.send(`{"type":"state","value":${value}}`);
  });
  for (value of ["0", "-1", "-1234567", MOST, LEAST]) {
    const page = await t.page(fake.url);
    await shows(page, ".value", value);
    for (const width of [320, 360, 704, 720, 1280]) {
      await page.setViewportSize({ width, height: 740 });
      await noSidewaysScroll(page, `${value} at ${width} px`);
      const size = await page.locator(".value").evaluate((value) => parseFloat(getComputedStyle(value).fontSize));
      assert.ok(size >= 18, `${value} at ${width} px is written in ${size} px`);
    }
  }
});

test("counter: an error is shown as text, to this user, and goes with the next click", async (t) => {
  const message = `No further: ${HTML}`;
  const fake = await t.fake("counter.html", (socket) => {
    socket.send(`{"type":"state","value":7}`);
    socket.send(JSON.stringify({ type: "error", message }));
    socket.on("message", () => socket.send(`{"type":"state","value":8}`));
  });
  const page = await t.page(fake.url);
  await until("the alert", () => page.getByRole("alert").textContent(), message);
  await noMarkup(page);
  await page.locator(".plus").click();
  await shows(page, ".value", "8");
  await shows(page, ".notice", "");
});

test("counter: junk from the server is ignored and the page lives on", async (t) => {
  const state = (value) => `{"type":"state","value":${value}}`;
  const junk = [
    "", "junk", "null", "true", "5", `"x"`, "[]", "[[]]", "{}", `{"type":null}`, `{"type":"nonsense"}`,
    `{"type":"state"}`, ...["null", "{}", "[]", `"6"`, "true", "1.5", "1e300", "1e999", JSON.stringify(HTML)].map(state),
    ...["null", "{}", `"3"`, "0.5", JSON.stringify(HTML)].map((count) => `{"type":"users","count":${count}}`),
    `{"type":"error"}`, `{"type":"error","message":{}}`, `{"type":["state"],"value":6}`,
    `{"__proto__":{"type":"state","value":6}}`, `{"type":"toString"}`, `{"type":"state","value":{"toString":1}}`,
    "[".repeat(100_000), `${"[".repeat(100_000)}${"]".repeat(100_000)}`, JSON.stringify("x".repeat(1 << 20)),
    Buffer.from(state(6)), Buffer.from([0xff, 0x00]), Buffer.alloc(0),
  ];
  const fake = await t.fake("counter.html", (socket) => {
    socket.send(`{"type":"users","count":2}`);
    socket.send(state(41));
    for (const message of junk) socket.send(message);
    socket.send(`{"type":"users","count":3}`);
    socket.on("message", () => socket.send(state(42)));
  });
  const page = await t.page(fake.url);
  await shows(page, ".online", "3 users online");
  await shows(page, ".value", "41");
  assert.equal(await text(page, ".notice")(), "");
  await page.locator(".plus").click();
  await shows(page, ".value", "42");
  await noMarkup(page);
  await noSidewaysScroll(page, "after junk");
});

// --- The time -------------------------------------------------------------------------------

test("time: the list grows, newest first, each line a time of now", async (t) => {
  const server = await t.server("time-server", ANY);
  const page = await t.page(server.url);
  const lines = () => page.locator("ul > li").allTextContents();
  const seen = await until("the list", lines, (seen) => seen.length >= 4, 30_000);
  for (const line of seen) {
    assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.ok(Math.abs(Date.now() - Date.parse(line)) < 60_000, `${line} is not now`);
  }
  assert.deepEqual(seen, seen.toSorted().toReversed());
});

test("time: a long run leaves fifty lines, and what they hold is text", async (t) => {
  const fake = await t.fake("time.html", (socket) => {
    for (let n = 0; n < 500; n += 1) socket.send(`line ${n}`);
    socket.send(Buffer.from("binary"));
    socket.send("x".repeat(1 << 20));
    socket.send(HTML);
  });
  for (const width of [360, 1280]) {
    const page = await t.page(fake.url, { viewport: { width, height: 740 } });
    await shows(page, "li:first-child", HTML);
    const lines = await page.locator("ul > li").allTextContents();
    assert.equal(lines.length, 50);
    assert.deepEqual([lines[1], lines[2], lines[49]], ["x".repeat(300), "line 499", "line 452"]);
    await noMarkup(page);
    await noSidewaysScroll(page, `at ${width} px`);
  }
});

test("time: the server is killed and returns, and the list goes on", async (t) => {
  t.expectConsole(NO_SERVER);
  const server = await t.server("time-server", ANY);
  const page = await t.page(server.url);
  const lines = () => page.locator("ul > li").count();
  await until("the number of lines", lines, (count) => count >= 1);
  await server.stop("SIGKILL");
  await shows(page, ".status", "Connection lost");
  await shows(page, ".hint", /^– next try in \d+ s$/);
  const before = await lines();
  await t.server("time-server", server.address);
  await connected(page);
  await until("the number of lines", lines, (count) => count > before);
});

// --- Hello ----------------------------------------------------------------------------------

test("hello: names are greeted over ws, with a script, without a letter, and as markup", async (t) => {
  const server = await t.server("hello-server", ANY);
  const page = await t.page(server.url);
  await shows(page, ".status", "Ready");
  for (const name of ["Ada", "", "Zoë 你好 👋🏽", "  two  spaces ", HTML, "x".repeat(500)]) {
    await greet(page, name);
    await shows(page, ".greeting", `Hello ${name}!`);
    await shows(page, ".status", "Greeted, then closed with code 1000");
  }
  await noMarkup(page);
  await page.setViewportSize({ width: 360, height: 740 });
  await noSidewaysScroll(page, "a name of 500 letters at 360 px");
  await until("the server's output", () => server.stdout, /^< Ada\n> Hello Ada!$/m);
});

test("hello: the keyboard is enough", async (t) => {
  const server = await t.server("hello-server", ANY);
  const page = await t.page(server.url);
  // The input has the focus from the start, but that is from the first frame that is drawn.
  await page.waitForFunction(() => document.activeElement?.id === "name", null, { timeout: 8_000 });
  await page.keyboard.type("Enter");
  await page.keyboard.press("Enter");
  await shows(page, ".greeting", "Hello Enter!");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await shows(page, ".greeting", "Hello Enter!");
  await until("the server's output", () => server.stdout.match(/^< Enter$/gm).length, 2);
});

test("hello: with no server it says so, goes on trying, and greets the name that was sent", async (t) => {
  t.expectConsole(NO_SERVER);
  const server = await t.server("hello-server", ANY);
  const page = await t.page(server.url);
  await server.stop("SIGKILL");
  await greet(page, "Patience");
  await shows(page, ".status", `No answer from ${server.url.replace("http", "ws").replace(/\/$/, "")}`);
  await shows(page, ".hint", /^– next try in \d+ s$/);
  await page.getByLabel("What’s your name?").fill("someone else");
  await t.server("hello-server", server.address);
  await shows(page, ".greeting", "Hello Patience!");
});

test("hello: a name over the server's limit is refused with 1009, and not sent again", async (t) => {
  const server = await t.server("hello-server", ANY, "--max-size", "1000");
  const page = await t.page(server.url);
  let sockets = 0;
  page.on("websocket", () => { sockets += 1; });
  await greet(page, "x".repeat(1001));
  await shows(page, ".status", /^The server refused: code 1009 /);
  await page.waitForTimeout(1_500); // A retry would come within a second.
  assert.equal(sockets, 1);
  await greet(page, "Ada");
  await shows(page, ".greeting", "Hello Ada!");
});

test("hello: a refusal is shown with its reason, as text; a close without a greeting is named", async (t) => {
  const closes = [[1008, HTML], [1003, ""], [1000, ""]];
  const fake = await t.fake("hello.html", (socket) => {
    socket.on("message", () => {
      socket.send(Buffer.from("no text, so no greeting"));
      socket.close(...closes.shift());
    });
  });
  const page = await t.page(fake.url);
  for (const wanted of [`The server refused: code 1008 ${HTML}`, "The server refused: code 1003 ", "The server closed without a greeting"]) {
    await greet(page, "Ada");
    await shows(page, ".status", wanted);
    assert.equal(await text(page, ".greeting")(), "");
  }
  await noMarkup(page);
});

test("hello: a server that shuts down before it greeted is tried again", async (t) => {
  const ends = [(socket) => socket.close(1001), (socket) => socket.terminate(), (socket) => socket.close(1011)];
  const fake = await t.fake("hello.html", (socket) => {
    socket.on("message", (name) => {
      const end = ends.shift();
      if (end) return end(socket);
      socket.send(`Hello ${name}!`);
      socket.send("and more that was not asked for");
      socket.close(1000);
    });
  });
  const page = await t.page(fake.url);
  await greet(page, "Ada");
  await shows(page, ".status", "Connection lost");
  await shows(page, ".greeting", "Hello Ada!", 12_000);
});

test("wss: refused while the certificate is not trusted, greeted once exactly this one is", async (t) => {
  const server = await t.server("wss-server", ANY);
  const stranger = await t.page();
  t.expectConsole(/ERR_CERT_AUTHORITY_INVALID/);
  await assert.rejects(stranger.goto(server.url), /ERR_CERT_AUTHORITY_INVALID/);

  // Trust as a browser can be told on its command line: in this one key, named by the SHA-256
  // of its SubjectPublicKeyInfo. Any other key is still refused, as the second browser shows.
  const key = (await certificateOf(server)).publicKey.export({ type: "spki", format: "der" });
  const trusting = async (key) => {
    const pin = createHash("sha256").update(key).digest("base64");
    return t.context(await t.browser(`--ignore-certificate-errors-spki-list=${pin}`));
  };
  const page = await t.page(undefined, { context: await trusting(key) });
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto(server.url);
  await greet(page, "Ada");
  await shows(page, ".greeting", "Hello Ada!");
  await shows(page, ".status", "Greeted, then closed with code 1000");
  assert.deepEqual(sockets, [server.url.replace("https", "wss")]);

  const mistaken = await t.page(undefined, { context: await trusting("another key") });
  await assert.rejects(mistaken.goto(server.url), /ERR_CERT_AUTHORITY_INVALID/);
});

// The certificate that a server shows to whoever asks.
const certificateOf = ({ port }) => new Promise((resolve, reject) => {
  const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
    resolve(socket.getPeerX509Certificate());
    socket.destroy();
  });
  socket.setTimeout(5_000, () => socket.destroy(new Error("no TLS handshake in 5 s")));
  socket.once("error", reject);
});

// --- All pages ------------------------------------------------------------------------------

for (const [name, port, address, use] of [
  ["hello", 8765, "ws://localhost:8765/", (page) => shows(page, ".greeting", "Hello Ada!")],
  ["time", 5678, "ws://127.0.0.1:5678/", (page) => shows(page, "li:last-child", /Z$/)],
  ["counter", 6789, "ws://127.0.0.1:6789/", async (page) => {
    await shows(page, ".value", "0");
    await page.locator(".plus").click();
    await shows(page, ".value", "1");
  }],
]) {
  test(`${name}: the page opened as a file says that ${address} does not answer, and finds the server when it comes`, async (t) => {
    t.expectConsole(NO_SERVER);
    await t.needPort(port);
    const page = await t.page();
    const sockets = new Set();
    page.on("websocket", (socket) => sockets.add(socket.url()));
    await page.goto(t.file(`${name}.html`));
    if (name === "hello") await greet(page, "Ada");
    await shows(page, ".status", `No answer from ${address}`);
    await shows(page, ".hint", /^– next try in \d+ s$/);
    await t.server(`${name}-server`); // on its default address
    await use(page);
    assert.deepEqual([...sockets], [address]);
  });
}

test("pages: every address that a server names serves one that works", async (t) => {
  const server = await t.server("counter-server", "localhost:0");
  const output = await until("the server's output", () => server.stdout, /^open http:/m);
  const sockets = output.match(/(?<=^listening on )ws:.*$/gm), open = output.match(/(?<=^open )\S+/gm);
  for (const address of [...open, ...sockets.map((url) => url.replace("ws", "http"))]) {
    await connected(await t.page(address));
  }
});

test("pages: one file each, nothing from elsewhere, no global left behind", async (t) => {
  for (const name of PAGES) {
    const server = await t.server(name.replace(".html", "-server"), ANY);
    const requests = [];
    const page = await t.page(server.url, {
      init: async (page) => {
        page.on("request", (request) => requests.push(request.url()));
        await page.addInitScript(() => {
          const before = new Set(Object.getOwnPropertyNames(window));
          window.newGlobals = () => Object.getOwnPropertyNames(window).filter((key) => !before.has(key));
        });
      },
    });
    await page.waitForTimeout(500); // Time for a favicon to be asked for.
    assert.deepEqual(requests.filter((url) => !url.startsWith("data:")), [server.url], name);
    const globals = await page.evaluate(() => window.newGlobals());
    assert.deepEqual(globals.filter((key) => key !== "newGlobals" && !key.startsWith("__playwright")), [], name);
    assert.equal(await page.evaluate(() => document.compatMode), "CSS1Compat");
  }
});

test("pages: the policy names the right hashes, and foreign code and addresses are refused", async (t) => {
  t.expectConsole(/Content Security Policy/);
  for (const name of PAGES) {
    assert.equal(t.source(name), withHashes(t.source(name)), `${name}: csp.mjs --write renews the hashes`);
    const fake = await t.fake(name, () => {});
    const page = await t.page(fake.url);
    const refused = await page.evaluate(async (html) => {
      const violations = [];
      document.addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.pwned = true";
      const style = document.createElement("style");
      style.textContent = "body { display: none }";
      document.body.append(script, style);
      document.body.insertAdjacentHTML("beforeend", html);
      await fetch("https://example.com/").catch(() => {});
      new WebSocket("ws://127.0.0.1:1/");
      await new Promise((resolve) => setTimeout(resolve, 300));
      return violations.sort();
    }, HTML);
    for (const directive of ["connect-src", "img-src", "script-src-elem", "style-src-elem"]) {
      assert.ok(refused.includes(directive), `${name}: ${directive} refused nothing (${refused})`);
    }
    assert.equal(refused.filter((directive) => directive === "connect-src").length, 2, name);
    assert.equal(await page.evaluate(() => window.pwned), undefined, `${name}: a foreign script ran`);
  }
});

if (flags.screenshots) {
  test(`pages: screenshots are in ${flags.screenshots}`, async (t) => {
    mkdirSync(flags.screenshots, { recursive: true });
    const [hello, time, counter] = await Promise.all(PAGES.map((name) => t.server(name.replace(".html", "-server"), ANY)));
    const first = await t.page(counter.url);
    await t.page(counter.url);
    await connected(first);
    for (let n = 0; n < 42; n += 1) await first.locator(".plus").click();
    await shows(first, ".value", "42");

    const sizes = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 800 } };
    const all = Object.entries(sizes).flatMap(([device, viewport]) =>
      ["light", "dark"].map((colorScheme) => ({ device, viewport, colorScheme })));
    await Promise.all(all.map(async ({ device, viewport, colorScheme }) => {
      const context = await t.context(undefined, { viewport, colorScheme, deviceScaleFactor: device === "phone" ? 2 : 1 });
      const shot = (page, name) =>
        page.screenshot({ path: join(flags.screenshots, `${name}-${device}-${colorScheme}.png`) });
      const times = await t.page(time.url, { context });
      const names = await t.page(hello.url, { context });
      await greet(names, "Ada Lovelace");
      await shows(names, ".greeting", "Hello Ada Lovelace!");
      await shot(names, "hello");
      const clicks = await t.page(counter.url, { context });
      await shows(clicks, ".value", "42");
      await shows(clicks, ".online", /^[3-6] users online$/);
      await shot(clicks, "counter");
      await until("the number of times", () => times.locator("li").count(), (count) => count >= 6, 30_000);
      await shot(times, "time");
    }));
  });
}

await run({ bin, web, only: flags.only });
