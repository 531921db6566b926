import { errorChain, StorageError } from "@zfsilo/lib";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FileOperationError } from "./command-error.ts";
import type { ContractOptions, ContractSubject } from "./contract.ts";
import type { FileOperation, FileResult } from "./executor.ts";

const defaultRuns = 50;

/** File operations: each one's meaning, and those of a batch. Needs nothing on the host but the executor itself. */
export function fileContract(options: ContractOptions): void {
  const runs = options.runs ?? defaultRuns;
  const create = { mode: 0o600 };

  describe(`${options.name}: files`, () => {
    let subject: ContractSubject;
    let dir: string;
    let cases = 0;
    const { signal } = new AbortController();

    const batch = (...operations: FileOperation[]): Promise<readonly FileResult[]> => subject.executor.files(operations, { signal });
    const one = async (operation: FileOperation): Promise<FileResult> => (await batch(operation))[0] ?? {};
    const failure = async (...operations: FileOperation[]): Promise<FileOperationError> => {
      const error: unknown = await batch(...operations).then(() => undefined, (thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(FileOperationError);
      return error as FileOperationError;
    };
    const write = (path: string, content: string): FileOperation => ({ op: "write", path, content, create });

    beforeAll(async () => {
      subject = await options.make();
    });
    beforeEach(async () => {
      cases += 1;
      dir = `${subject.dir}/files-${cases}`;
      await one({ op: "mkdir", path: dir });
    });
    afterAll(async () => {
      await subject.close();
    });

    it("answers an empty batch with nothing", async () => {
      expect(await batch()).toEqual([]);
    });

    it("performs each operation, in order, with one result for each", async () => {
      const results = await batch(
        { op: "mkdir", path: `${dir}/d`, mode: 0o700 },
        write(`${dir}/d/f`, "hello\n"),
        { op: "symlink", path: `${dir}/d/l`, target: "../d/f" },
        { op: "readlink", path: `${dir}/d/l` },
        { op: "read", path: `${dir}/d/l` },
        { op: "list", path: `${dir}/d` },
        { op: "read-glob", path: `${dir}/*/f` },
        { op: "unlink", path: `${dir}/d/l` },
        { op: "unlink", path: `${dir}/d/f` },
        { op: "rmdir", path: `${dir}/d` },
        { op: "list", path: dir },
      );
      expect(results).toEqual([
        {}, {}, {},
        { text: "../d/f" },
        { text: "hello\n" },
        { entries: ["f", "l"] },
        { files: [[`${dir}/d/f`, "hello\n"]] },
        {}, {}, {},
        { entries: [] },
      ]);
    });

    it.each<[string, (at: string) => FileOperation[], string]>([
      ["mkdir on a directory", (at) => [{ op: "mkdir", path: at }], "EEXIST"],
      ["mkdir without its parent", (at) => [{ op: "mkdir", path: `${at}/a/b` }], "ENOENT"],
      ["rmdir of a full directory", (at) => [write(`${at}/f`, ""), { op: "rmdir", path: at }], "ENOTEMPTY"],
      ["rmdir of nothing", (at) => [{ op: "rmdir", path: `${at}/x` }], "ENOENT"],
      ["rmdir of a file", (at) => [write(`${at}/f`, ""), { op: "rmdir", path: `${at}/f` }], "ENOTDIR"],
      ["unlink of nothing", (at) => [{ op: "unlink", path: `${at}/x` }], "ENOENT"],
      ["unlink of a directory", (at) => [{ op: "unlink", path: at }], "EISDIR"],
      ["symlink over something", (at) => [{ op: "symlink", path: at, target: "x" }], "EEXIST"],
      ["readlink of a directory", (at) => [{ op: "readlink", path: at }], "EINVAL"],
      ["read of nothing", (at) => [{ op: "read", path: `${at}/x` }], "ENOENT"],
      ["read of a directory", (at) => [{ op: "read", path: at }], "EISDIR"],
      ["list of nothing", (at) => [{ op: "list", path: `${at}/x` }], "ENOENT"],
      ["list of a file", (at) => [write(`${at}/f`, ""), { op: "list", path: `${at}/f` }], "ENOTDIR"],
      ["write without create to nothing", (at) => [{ op: "write", path: `${at}/x`, content: "1" }], "ENOENT"],
      ["write to a directory", (at) => [{ op: "write", path: at, content: "1" }], "EISDIR"],
      ["a path through a file", (at) => [write(`${at}/f`, ""), { op: "read", path: `${at}/f/g` }], "ENOTDIR"],
      ["a name that is too long", (at) => [{ op: "mkdir", path: `${at}/${"n".repeat(300)}` }], "ENAMETOOLONG"],
    ])("fails %s with its errno, and tolerates just that", async (_name, make, errno) => {
      const operations = make(dir);
      const last = operations.at(-1) ?? { op: "list", path: dir };
      const error = await failure(...operations);
      expect(error).toMatchObject({ errno, index: operations.length - 1, operation: { op: last.op, path: last.path } });
      expect(await one({ ...last, tolerate: ["EXDEV", errno] })).toEqual({ errno });
      expect((await failure({ ...last, tolerate: ["EXDEV"] })).errno).toBe(errno);
    });

    it("stops at the first failure: what stands before it has happened, what follows has not", async () => {
      const error = await failure(
        write(`${dir}/before`, "1"),
        { op: "rmdir", path: `${dir}/absent`, tolerate: ["ENOENT"] },
        { op: "mkdir", path: dir },
        write(`${dir}/after`, "1"),
      );
      expect(error).toMatchObject({ index: 2, errno: "EEXIST", reason: "already_exists" });
      expect(await one({ op: "list", path: dir })).toEqual({ entries: ["before"] });
    });

    it("goes on after a failure with the next batch", async () => {
      await failure({ op: "read", path: `${dir}/absent` });
      expect(await one({ op: "list", path: dir })).toEqual({ entries: [] });
    });

    it("refuses a relative path, or one with a NUL, before anything happens", async () => {
      for (const path of ["relative", "", "./x", `${dir}/a\0b`]) {
        await expect(batch(write(`${dir}/first`, "1"), { op: "mkdir", path })).rejects.toMatchObject({ reason: "invalid_argument" });
      }
      expect(await one({ op: "list", path: dir })).toEqual({ entries: [] });
    });

    it("creates a file when told to, and truncates one that exists", async () => {
      await batch(write(`${dir}/f`, "a long first content"), write(`${dir}/f`, "short"));
      expect(await one({ op: "read", path: `${dir}/f` })).toEqual({ text: "short" });
    });

    it("writes at the start and leaves the rest when not told to create", async () => {
      await batch(write(`${dir}/f`, "0123456789"), { op: "write", path: `${dir}/f`, content: "abc" });
      expect(await one({ op: "read", path: `${dir}/f` })).toEqual({ text: "abc3456789" });
    });

    it("follows a link when it reads and writes", async () => {
      await batch(write(`${dir}/f`, "x"), { op: "symlink", path: `${dir}/l`, target: "f" }, { op: "write", path: `${dir}/l`, content: "y" });
      expect(await one({ op: "read", path: `${dir}/f` })).toEqual({ text: "y" });
    });

    it("reads at most maxBytes", async () => {
      await one(write(`${dir}/f`, "0123456789"));
      const read = async (maxBytes: number) => (await one({ op: "read", path: `${dir}/f`, maxBytes })).text;
      expect([await read(0), await read(4), await read(10), await read(11)]).toEqual(["", "0123", "0123456789", "0123456789"]);
    });

    it("carries a large content whole", async () => {
      const content = "0123456789abcde\n".repeat(48 * 1024);
      await one(write(`${dir}/f`, content));
      const { text } = await one({ op: "read", path: `${dir}/f` });
      expect(text === content).toBe(true);
    });

    it("carries any text, in content, names and link targets", async () => {
      const text = fc.string({ unit: "binary", maxLength: 200 });
      const name = fc
        .string({ unit: "binary", minLength: 1, maxLength: 40 })
        .filter((candidate) => !/[/\0]/.test(candidate) && candidate !== "." && candidate !== "..");
      await fc.assert(
        fc.asyncProperty(text, name, async (content, leaf) => {
          const path = `${dir}/${leaf}`;
          const results = await batch(
            write(path, content),
            { op: "read", path },
            { op: "list", path: dir },
            { op: "unlink", path },
            { op: "symlink", path, target: `${dir}/${leaf}` },
            { op: "readlink", path },
            { op: "unlink", path },
          );
          expect(results.slice(1, 3)).toEqual([{ text: content }, { entries: [leaf] }]);
          expect(results[5]).toEqual({ text: path });
        }),
        { numRuns: runs },
      );
    });

    it("lists in byte order, hidden names too", async () => {
      // In UTF-16 units the last two would change places.
      const names = ["z", "a", "B", ".h", "a b", "é", "\u{10000}", "\uffff"];
      await batch(...names.map((name) => write(`${dir}/${name}`, "")));
      expect(await one({ op: "list", path: dir })).toEqual({ entries: [".h", "B", "a", "a b", "z", "é", "\uffff", "\u{10000}"] });
    });

    it("reads every match of a pattern, in byte order of the path", async () => {
      await batch(
        ...["lun_1", "lun_0", "lun_10", "other"].map((name): FileOperation => ({ op: "mkdir", path: `${dir}/${name}` })),
        write(`${dir}/lun_1/info`, "one"),
        write(`${dir}/lun_0/info`, "zero"),
        write(`${dir}/lun_10/info`, "ten"),
        write(`${dir}/other/info`, "other"),
        { op: "mkdir", path: `${dir}/lun_2` },
      );
      expect(await one({ op: "read-glob", path: `${dir}/lun_*/info` })).toEqual({
        files: [[`${dir}/lun_0/info`, "zero"], [`${dir}/lun_1/info`, "one"], [`${dir}/lun_10/info`, "ten"]],
      });
      expect((await one({ op: "read-glob", path: `${dir}/*/in*o` })).files).toHaveLength(4);
      expect((await one({ op: "read-glob", path: `${dir}/o*r/info` })).files).toEqual([[`${dir}/other/info`, "other"]]);
    });

    it("leaves hidden, unreadable and literal characters of a pattern alone", async () => {
      await batch(
        write(`${dir}/.hidden`, "h"),
        write(`${dir}/a.b`, "dot"),
        write(`${dir}/axb`, "x"),
        write(`${dir}/[q]?`, "odd"),
        { op: "mkdir", path: `${dir}/directory` },
        { op: "symlink", path: `${dir}/dangling`, target: "nowhere" },
      );
      const names = async (pattern: string) =>
        (await one({ op: "read-glob", path: `${dir}/${pattern}` })).files?.map(([path]) => path.slice(dir.length + 1));
      expect(await names("*")).toEqual(["[q]?", "a.b", "axb"]);
      expect(await names(".*")).toEqual([".hidden"]);
      expect(await names("a.*")).toEqual(["a.b"]);
      expect(await names("[q]*")).toEqual(["[q]?"]);
      expect(await names("nothing*")).toEqual([]);
      expect(await names("absent/*")).toEqual([]);
      expect(await names("a.b")).toEqual(["a.b"]);
    });

    it("performs two hundred operations in one batch", async () => {
      const paths = Array.from({ length: 50 }, (_, index) => `${dir}/f${index}`);
      const results = await batch(
        ...paths.map((path, index) => write(path, String(index))),
        ...paths.map((path): FileOperation => ({ op: "read", path })),
        ...paths.map((path): FileOperation => ({ op: "unlink", path })),
        ...paths.map((path): FileOperation => ({ op: "unlink", path, tolerate: ["ENOENT"] })),
      );
      expect(results).toHaveLength(200);
      expect(results.slice(50, 100)).toEqual(paths.map((_, index) => ({ text: String(index) })));
      expect(results.slice(150)).toEqual(paths.map(() => ({ errno: "ENOENT" })));
    });

    it("performs twenty batches asked for at once, none mixed with another", async () => {
      const all = Array.from({ length: 20 }, (_, index) =>
        batch(write(`${dir}/p${index}`, `content ${index}`), { op: "read", path: `${dir}/p${index}` }),
      );
      const texts = (await Promise.all(all)).map((results) => results[1]?.text);
      expect(texts).toEqual(Array.from({ length: 20 }, (_, index) => `content ${index}`));
    });

    it("shows the content of a write in no error", async () => {
      const error = await failure({ op: "write", path: `${dir}/absent`, content: "hunter2", secret: true });
      expect(`${errorChain(error)} ${JSON.stringify(error)} ${error.stack ?? ""}`).not.toContain("hunter2");
    });

    it("performs nothing when aborted before", async () => {
      const call = subject.executor.files([write(`${dir}/f`, "")], { signal: AbortSignal.abort() });
      await expect(call).rejects.toMatchObject({ reason: "aborted", outcome: "not_started" });
      await expect(call).rejects.toBeInstanceOf(StorageError);
      expect(await one({ op: "list", path: dir })).toEqual({ entries: [] });
    });
  });
}
