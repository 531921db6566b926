import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ssh2 from "ssh2";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectSsh } from "./ssh2-connection.ts";

const { Server, utils } = ssh2;

let directory: string;
let server: InstanceType<typeof Server>;
let allowed: string;
const at = (name: string): string => join(directory, name);
/** A private key as OpenSSH writes it, and its public half as it stands in files. */
function newKey(): { readonly text: string; readonly line: string } {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs1", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } });
  const parsed = utils.parseKey(privateKey);
  if (parsed instanceof Error) throw parsed;
  return { text: privateKey, line: `${parsed.type} ${parsed.getPublicSSH().toString("base64")}` };
}

const hostKey = newKey();
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-ssh-"));
  server = new Server({ hostKeys: [hostKey.text] }, (client) => {
    client.on("error", () => undefined);
    client.on("authentication", (context) => {
      const isKnown = context.method === "publickey" && context.key.data.toString("base64") === allowed.split(" ")[1];
      if (isKnown) context.accept();
      else context.reject(["publickey"]);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  server.close();
  await rm(directory, { recursive: true });
});

it("a private key and known hosts that were replaced count for the next connection", async () => {
  const { port } = server.address() as AddressInfo;
  const target = { address: "127.0.0.1", port, user: "root", privateKeyFile: at("id"), knownHostsFile: at("known_hosts") };
  const connect = async (): Promise<string> => {
    try {
      (await connectSsh(target)).end();
      return "connected";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  const [old, fresh] = [newKey(), newKey()];
  allowed = old.line;
  await writeFile(at("id"), old.text);
  await writeFile(at("known_hosts"), `[127.0.0.1]:${port} ${hostKey.line}\n`);
  expect(await connect()).toBe("connected");
  // The host was told to trust another key.
  allowed = fresh.line;
  expect(await connect()).toContain("log in to");
  await writeFile(at("id"), fresh.text);
  expect(await connect()).toBe("connected");
  await writeFile(at("known_hosts"), `[127.0.0.1]:${port} ${old.line}\n`);
  expect(await connect()).toContain("is not the known one");
});
