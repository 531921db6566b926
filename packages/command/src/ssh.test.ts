import { afterEach, describe, expect, it } from "vitest";
import type { Argv } from "./executor.ts";
import { ChannelRefusedError, SshConnectError, type SshChannelHandlers, type SshConnection } from "./ssh-connection.ts";
import { SshExecutor } from "./ssh.ts";

const { signal } = new AbortController();

/** A host that answers by script: what a connection and its commands do is decided by each case. */
class FakeHost {
  connects = 0;
  lines: string[] = [];
  ended = 0;
  refuseConnect: Error | undefined;
  onCommand: (handlers: SshChannelHandlers) => void = (handlers) => { succeed(handlers); };
  onInput: (handlers: SshChannelHandlers) => void = () => undefined;
  refuseChannels = 0;
  #lose: (error: Error) => void = () => undefined;
  #open: SshChannelHandlers[] = [];

  readonly connect = (): Promise<SshConnection> => {
    this.connects += 1;
    if (this.refuseConnect !== undefined) return Promise.reject(this.refuseConnect);
    const lost = new Promise<Error>((resolve) => {
      this.#lose = resolve;
    });
    return Promise.resolve({
      lost,
      open: (line, handlers) => {
        if (this.refuseChannels > 0) {
          this.refuseChannels -= 1;
          return Promise.reject(new ChannelRefusedError(new Error("open failed"), true));
        }
        this.lines.push(line);
        this.#open.push(handlers);
        setImmediate(() => {
          // Only commands carry arguments; the line that ends process groups does not.
          if (line.includes("set -- ")) this.onCommand(handlers);
          else handlers.close();
        });
        const ignore = (): void => undefined;
        return Promise.resolve({ write: () => { this.onInput(handlers); }, end: ignore, close: ignore, pause: ignore, resume: ignore });
      },
      end: () => {
        this.ended += 1;
        this.lose();
      },
    });
  };

  lose(): void {
    this.#lose(new Error("cable cut"));
    for (const handlers of this.#open.splice(0)) handlers.close();
  }
}

function succeed(handlers: SshChannelHandlers, output = ""): void {
  handlers.stdout(Buffer.from(`zfsilo:1234\n${output}`));
  handlers.exit(0);
  handlers.close();
}

describe("SshExecutor", () => {
  let executor: SshExecutor;
  const make = (host: FakeHost): SshExecutor => (executor = new SshExecutor("there", host.connect));
  const echo: Argv = ["echo"];

  afterEach(async () => {
    await executor.close();
  });

  it("connects at the first call, once for all", async () => {
    const host = new FakeHost();
    make(host);
    expect(host.connects).toBe(0);
    await Promise.all(Array.from({ length: 20 }, () => executor.run(echo, { signal })));
    expect(host.connects).toBe(1);
  });

  it("takes what a login shell prints before the command for no output", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => {
      for (const part of ["Welcome to zfsilo:x\nzfs", "ilo:77", "\nreal ", "output"]) handlers.stdout(Buffer.from(part));
      handlers.exit(0);
      handlers.close();
    };
    expect((await make(host).run(echo, { signal })).stdout).toBe("real output");
  });

  it("says that a login shell ran nothing", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => {
      handlers.stdout(Buffer.from("This account is currently not available.\n"));
      handlers.exit(1);
      handlers.close();
    };
    await expect(make(host).run(echo, { signal })).rejects.toMatchObject({
      reason: "precondition",
      outcome: "not_started",
      hint: expect.stringContaining("login shell") as string,
    });
  });

  it("says so too when the shell leaves something behind that keeps the channel open", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => { handlers.exit(1); };
    await expect(make(host).run(echo, { signal })).rejects.toMatchObject({ reason: "precondition", outcome: "not_started" });
  });

  it("runs five commands at a time", async () => {
    const host = new FakeHost();
    const waiting: SshChannelHandlers[] = [];
    host.onCommand = (handlers) => waiting.push(handlers);
    make(host);
    const calls = Array.from({ length: 9 }, () => executor.run(echo, { signal }));
    await expect.poll(() => waiting.length).toBe(5);
    expect(host.lines).toHaveLength(5);
    for (let done = 0; done < 9; done += 1) {
      await expect.poll(() => waiting.length).toBeGreaterThan(0);
      succeed(waiting.shift()!);
    }
    await Promise.all(calls);
    expect(host.lines).toHaveLength(9);
  });

  it("tries again when the server refuses a channel", async () => {
    const host = new FakeHost();
    host.refuseChannels = 2;
    await make(host).run(echo, { signal });
    expect(host.lines).toHaveLength(1);
  });

  it("leaves a connection whose server keeps refusing, and says that nothing started", async () => {
    const host = new FakeHost();
    host.refuseChannels = 7;
    make(host);
    await expect(executor.run(echo, { signal })).rejects.toMatchObject({
      reason: "unavailable",
      outcome: "not_started",
      hint: expect.stringContaining("MaxSessions") as string,
    });
    expect(host.ended).toBe(1);
    await executor.run(echo, { signal });
    expect(host.connects).toBe(2);
  });

  it("does not know about what ran when the connection was lost, and runs what had waited on a new one", async () => {
    const host = new FakeHost();
    host.onCommand = () => undefined;
    make(host);
    const calls = Array.from({ length: 9 }, () => executor.run(echo, { signal }));
    const settled = Promise.allSettled(calls);
    await expect.poll(() => host.lines.length).toBe(5);
    host.onCommand = (handlers) => { succeed(handlers); };
    host.lose();
    const results = await settled;
    expect(results.map((result) => result.status)).toEqual([...Array<string>(5).fill("rejected"), ...Array<string>(4).fill("fulfilled")]);
    for (const result of results.slice(0, 5)) {
      expect(result).toMatchObject({ reason: { reason: "unavailable", outcome: "unknown" } });
    }
    expect(host.connects).toBe(2);
  });

  it("fails what had waited as not started when there is no new connection, with one try for all", async () => {
    const host = new FakeHost();
    host.onCommand = () => undefined;
    make(host);
    const settled = Promise.allSettled(Array.from({ length: 30 }, () => executor.run(echo, { signal })));
    await expect.poll(() => host.lines.length).toBe(5);
    host.refuseConnect = new SshConnectError("connect to there", { hint: "Turn it on." });
    host.lose();
    const results = await settled;
    for (const result of results.slice(5)) {
      expect(result).toMatchObject({ reason: { reason: "unavailable", outcome: "not_started", hint: "Turn it on." } });
    }
    expect(host.lines).toHaveLength(5);
    expect(host.connects).toBe(2);
  });

  it("does not know about a command whose channel ended without an exit", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => {
      handlers.stdout(Buffer.from("zfsilo:1\n"));
      handlers.close();
    };
    await expect(make(host).run(echo, { signal })).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
  });

  it("names perl when a host lacks it", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => {
      handlers.stdout(Buffer.from("zfsilo:-\n"));
      handlers.exit(127);
      handlers.close();
    };
    await expect(make(host).files([{ op: "list", path: "/" }], { signal })).rejects.toMatchObject({
      reason: "precondition",
      outcome: "not_started",
      hint: expect.stringContaining("perl") as string,
    });
  });

  it("does not trust an answer that does not fit the batch", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => { handlers.stdout(Buffer.from("zfsilo:1\n")); };
    host.onInput = (handlers) => { handlers.stdout(Buffer.from("99 +\n")); };
    await expect(make(host).files([{ op: "list", path: "/" }], { signal })).rejects.toMatchObject({ reason: "internal", outcome: "unknown" });
  });

  it("ends the remote process group of a command whose time is up", async () => {
    const host = new FakeHost();
    host.onCommand = (handlers) => { handlers.stdout(Buffer.from("zfsilo:4711\n")); };
    await expect(make(host).run(echo, { signal, timeoutMs: 50 })).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    expect(host.lines[1]).toContain("kill -s TERM");
    expect(host.lines[1]).toContain("-4711");
  });
});
