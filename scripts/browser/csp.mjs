// The pages' Content-Security-Policy names the SHA-256 of their <style> and their <script>, so
// that nothing else can run in them. This checks those hashes, and with --write renews them.
//
//   node scripts/browser/csp.mjs web [--write]

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// The page with the hashes that its policy must name. A browser hashes the text between the
// tags as UTF-8, after its parser has made every line end a \n.
export function withHashes(page) {
  for (const tag of ["style", "script"]) {
    const [, text] = new RegExp(`<${tag}\\b[^>]*>([^]*?)</${tag}>`).exec(page.replace(/\r\n?/g, "\n"));
    const hash = createHash("sha256").update(text).digest("base64");
    page = page.replace(new RegExp(`(${tag}-src\\s+'sha256-)[^']*'`), `$1${hash}'`);
  }
  return page;
}

export const pagesIn = (folder) =>
  readdirSync(folder).filter((name) => name.endsWith(".html")).map((name) => join(folder, name));

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, flag] = process.argv.slice(2);
  if (!folder || (flag && flag !== "--write")) {
    console.error("usage: node csp.mjs FOLDER [--write]");
    process.exit(2);
  }
  for (const path of pagesIn(folder)) {
    const page = readFileSync(path, "utf8");
    const right = withHashes(page);
    if (page === right) {
      console.log(`${path}: the policy names the right hashes`);
    } else if (flag) {
      writeFileSync(path, right);
      console.log(`${path}: renewed`);
    } else {
      console.log(`${path}: the policy names old hashes; --write renews them`);
      process.exitCode = 1;
    }
  }
}
