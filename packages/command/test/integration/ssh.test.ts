import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorChain, waitFor } from "@zfsilo/lib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { executorContract, streamContract, type ContractOptions } from "../../src/contract.ts";
import { CommandError, SshExecutor, type SshTarget } from "../../src/index.ts";
import { sshdPresent, TestSshd } from "./sshd.ts";

if (!sshdPresent && process.env["CI"] === "true") throw new Error("/usr/sbin/sshd is missing: install openssh-server");

describe.runIf(sshdPresent)("over a real ssh server", () => {
  const { signal } = new AbortController();
  let server: TestSshd;
  let executor: SshExecutor;

  beforeAll(async () => {
    server = await TestSshd.start();
  });
  afterAll(async () => {
    await server.stop();
  });

  const contract: ContractOptions = {
    name: "SshExecutor",
    runs: 40,
    make: async () => {
      const contractExecutor = new SshExecutor("there", server.target());
      return {
        executor: contractExecutor,
        dir: await mkdtemp(join(server.dir, "data", "contract-")),
        close: () => contractExecutor.close(),
      };
    },
  };

  executorContract(contract);
  streamContract(contract);

  describe("connecting", () => {
    const tryWith = async (changes: Partial<SshTarget> = {}): Promise<string> => {
      const candidate = new SshExecutor("there", server.target(changes));
      try {
        return (await candidate.run(["echo", "in"], { signal })).stdout;
      } finally {
        await candidate.close();
      }
    };
    const refusal = async (changes: Partial<SshTarget> = {}): Promise<CommandError> => {
      const error: unknown = await tryWith(changes).then(() => undefined, (thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CommandError);
      expect(error).toMatchObject({ reason: "unavailable", outcome: "not_started" });
      return error as CommandError;
    };

    afterEach(async () => {
      await server.know("host_ed25519");
    });

    it.each(["host_ed25519", "host_ecdsa", "host_rsa"])("accepts the server when only its %s key is known", async (key) => {
      await server.know(key);
      expect(await tryWith()).toBe("in\n");
    });

    it("accepts hashed names", async () => {
      await server.hashKnownHosts();
      expect(await readFile(server.knownHostsFile, "utf8")).toMatch(/^\|1\|/);
      expect(await tryWith()).toBe("in\n");
    });

    it("refuses a host that is not known, and says how to make it known", async () => {
      await writeFile(server.knownHostsFile, "");
      const error = await refusal();
      expect(errorChain(error)).toContain("is not known");
      expect(error.hint).toContain(`[127.0.0.1]:${server.port}`);
      // The line it offers is the one that works.
      const line = /"(\[.*?)"/.exec(error.hint ?? "")?.[1] ?? "";
      await writeFile(server.knownHostsFile, `${line}\n`);
      expect(await tryWith()).toBe("in\n");
    });

    it("refuses a host whose key changed", async () => {
      await server.know("other_host");
      const error = await refusal();
      expect(errorChain(error)).toContain("not the known one");
      expect(error.hint).toContain("SHA256:");
    });

    it("refuses a revoked key although it is also known", async () => {
      const known = await readFile(server.knownHostsFile, "utf8");
      await writeFile(server.knownHostsFile, `${known}@revoked * ${await server.publicKey("host_ed25519")}`);
      expect(errorChain(await refusal())).toContain("revoked");
    });

    it("says that our key was not accepted", async () => {
      const error = await refusal({ privateKeyFile: join(server.dir, "stranger") });
      expect(errorChain(error)).toContain("log in to");
      expect(error.hint).toContain("authorized_keys");
    });

    it("says that a file is missing", async () => {
      expect((await refusal({ knownHostsFile: "/nonexistent/known" })).hint).toContain("/nonexistent/known");
      expect((await refusal({ privateKeyFile: "/nonexistent/key" })).hint).toContain("/nonexistent/key");
    });

    it("says that nobody listens there", async () => {
      // Port 1 of the loopback address is nobody's.
      await writeFile(server.knownHostsFile, "");
      expect((await refusal({ port: 1 })).hint).toContain("ssh server");
    });
  });

  describe("connected", () => {
    beforeEach(() => {
      executor = new SshExecutor("there", server.target());
    });
    afterEach(async () => {
      await executor.close();
    });

    it("makes each command the leader of a process group of its own", async () => {
      const { stdout } = await executor.run(["sh", "-c", "echo $$; cut -d' ' -f5 /proc/self/stat"], { signal });
      const [pid, group] = stdout.trim().split("\n");
      expect(group).toBe(pid);
    });

    it("keeps one connection and one file worker", async () => {
      const connection = async () => (await executor.run(["sh", "-c", "echo $SSH_CONNECTION"], { signal })).stdout;
      expect(await connection()).toBe(await connection());
      const worker = async () => {
        const [result] = await executor.files([{ op: "read", path: "/proc/self/stat" }], { signal });
        return result?.text?.split(" ")[0];
      };
      expect(await worker()).toBe(await worker());
    });

    it("replaces a file worker that was killed", async () => {
      const [before] = await executor.files([{ op: "read", path: "/proc/self/stat" }], { signal });
      const pid = before?.text?.split(" ")[0] ?? "";
      await executor.run(["kill", "-KILL", pid], { signal });
      await waitFor("the worker to be gone", async () => {
        const [result] = await executor.files([{ op: "read", path: "/proc/self/stat" }], { signal }).catch(() => []);
        return result !== undefined && result.text?.split(" ")[0] !== pid ? true : undefined;
      }, signal);
    });

    it("ends a file batch that hangs at its time limit, and goes on with another worker", async () => {
      const dir = await mkdtemp(join(server.dir, "data", "hang-"));
      await executor.run(["mkfifo", `${dir}/pipe`], { signal });
      // Opening a pipe that nobody writes to blocks.
      const hanging = executor.files([{ op: "read", path: `${dir}/pipe` }], { signal, timeoutMs: 500 });
      await expect(hanging).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
      expect(await executor.files([{ op: "list", path: dir }], { signal })).toEqual([{ entries: ["pipe"] }]);
    });

    it("gives a waiting call up at its time limit as not started", async () => {
      const busy = Array.from({ length: 7 }, () => executor.run(["sleep", "1"], { signal }));
      await expect(executor.run(["true"], { signal, timeoutMs: 300 })).rejects.toMatchObject({ reason: "timeout", outcome: "not_started" });
      await Promise.all(busy);
    });

    it("ends ten commands and batches that time out together, and then works on", async () => {
      const calls = Array.from({ length: 7 }, (_, index) => executor.run(["sleep", `30${index}`], { signal, timeoutMs: 1_500 }));
      const settled = await Promise.allSettled(calls);
      expect(settled.map((one) => one.status)).toEqual(calls.map(() => "rejected"));
      expect((await executor.run(["echo", "on"], { signal })).stdout).toBe("on\n");
    });

    it("refuses a command line that the kernel would not take", async () => {
      const call = executor.run(["true", "x".repeat(128 * 1024)], { signal });
      await expect(call).rejects.toMatchObject({ reason: "invalid_argument", outcome: "not_started" });
    });

    it("does not know what became of a command whose connection was lost, and connects again", async () => {
      const dir = await mkdtemp(join(server.dir, "data", "lost-"));
      const command = executor.run(["sh", "-c", `echo > ${dir}/began; sleep 20`], { signal });
      const lost = expect(command).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
      await waitFor("the command to begin", async () => {
        const [result] = await executor.files([{ op: "list", path: dir }], { signal });
        return result?.entries?.includes("began") === true ? true : undefined;
      }, signal);
      await server.down();
      await lost;
      await expect(executor.run(["true"], { signal })).rejects.toMatchObject({ reason: "unavailable", outcome: "not_started" });
      await expect(executor.files([{ op: "list", path: dir }], { signal })).rejects.toMatchObject({ reason: "unavailable", outcome: "not_started" });
      await server.up();
      expect((await executor.run(["echo", "back"], { signal })).stdout).toBe("back\n");
      expect(await executor.files([{ op: "list", path: dir }], { signal })).toEqual([{ entries: ["began"] }]);
    });

    it("does not know what became of a batch whose connection was lost", async () => {
      const dir = await mkdtemp(join(server.dir, "data", "batch-"));
      await executor.run(["mkfifo", `${dir}/pipe`], { signal });
      const batch = executor.files([{ op: "mkdir", path: `${dir}/began` }, { op: "read", path: `${dir}/pipe` }], { signal });
      const lost = expect(batch).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
      await waitFor("the batch to begin", async () => {
        const { exitCode } = await executor.run(["test", "-d", `${dir}/began`], { signal });
        return exitCode === 0 ? true : undefined;
      }, signal);
      await server.down();
      await lost;
      await server.up();
      // The worker still hangs in the pipe; a writer lets it go, and it ends as its connection is gone.
      await executor.run(["sh", "-c", `echo > ${dir}/pipe`], { signal });
    });
  });
});
